"""Who works in a folder: claims, which one process holds while it works.

How two processes on any machines never do the same work:

1. A claim is a number in its folder, linked into place: one process alone gets the next number, and
   numbers only grow (`files`).
2. Its holder writes beats. A process whose id can be looked up here (same host, boot and pid
   namespace) holds its claim while it exists, even if it is stopped. Of all others a claim is
   nobody's once a detector has seen no change of it for the silent time, 120 s, by its own
   monotonic clock (`detecting`). That holds for an unreadable claim too, which a crash of its node
   may leave.
3. The holder looks its number up before each save, submission, rename and removal (`confirm`). If
   there is a higher one it ends as `superseded` and touches nothing.
4. Who takes over from a silent holder first waits for a quarter of the silent time. So what follows
   a look-up within that time is over before the successor begins, however long the two were stopped
   before, and whatever their clocks say.

What remains: a process that is stopped just between a look-up and what follows it, for longer than
that. No shared file system refuses the write of one holder and takes that of another. So what comes
last of each product is a rename of a whole file or folder under a name that the holder alone
writes: two that end so leave the product of one of them, whole. On NFS a look-up can be as old as
the attribute cache (60 s by default, `acregmax`): mount a run folder with a lower one.

The number begins again only in a new folder. The silent time can be set by
`COSMOTRON_SILENT_SECONDS`; the longer one of detector and holder counts.
"""

from pipeline.claims.detecting import SILENT_SECONDS, ClaimState, Detector, holder
from pipeline.claims.files import newest
from pipeline.claims.holding import (
    Claim,
    are_held,
    are_recent,
    are_taken_over,
    claimed,
    confirm,
    follow,
    for_children,
    number_of,
)
from pipeline.claims.process import Holder, process_running, process_started

__all__ = [
    "SILENT_SECONDS",
    "Claim",
    "ClaimState",
    "Detector",
    "Holder",
    "are_held",
    "are_recent",
    "are_taken_over",
    "claimed",
    "confirm",
    "follow",
    "for_children",
    "holder",
    "newest",
    "number_of",
    "process_running",
    "process_started",
]
