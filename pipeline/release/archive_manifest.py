"""What an archive of a run says of itself: `ARCHIVE.json`, a member of it."""

from pydantic import NonNegativeInt

from pipeline.inside import Inside
from pipeline.records import Record

NAME = "ARCHIVE.json"
FORMAT = 1


class Member(Record):
    """One file of the archive, by its path below the run folder."""

    path: Inside
    bytes: NonNegativeInt
    sha256: str


class LeftOut(Record):
    """Files that were not packed: what they are, and how to have them again.

    `path` is a file, or a folder with all that is in it, below the run folder.
    """

    path: Inside
    files: NonNegativeInt
    bytes: NonNegativeInt
    what: str
    again: str


class Elsewhere(Record):
    """A file or folder outside the run that its declarations name; the hash is that of a file."""

    path: str
    what: str
    sha256: str = ""


class ArchiveManifest(Record):
    """The content of `ARCHIVE.json`: the run, its members with checksums, and what is not packed.

    `run` is the name of the run folder, and the first part of the names of all members. `at_work`
    says who worked in the run while it was packed: then some records may be older than others.
    """

    format: int = FORMAT
    version: str
    run: Inside
    campaign: str
    identity: str
    packed: str
    at_work: tuple[str, ...] = ()
    members: tuple[Member, ...]
    left_out: tuple[LeftOut, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()
