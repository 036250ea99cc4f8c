"""Whether NCCL or RCCL would find the plug-in for the network between nodes, by the same search."""

import shlex
import sys

from pipeline.planning.preflight.check import Check, called, failed, ok, skipped
from pipeline.scheduler.network import libraries
from pipeline.site import Site

NAME = "network plug-in"
# What the loader of a process finds, that has the environment of a job: no path is guessed.
SEARCH = """
import ctypes, sys
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        continue
    print(name)
    break
"""


def plugin(site: Site, image: str) -> Check:
    """Return whether a job outside of an `image` would find the site's plug-in."""
    if not site.network_plugin:
        return skipped(NAME, "this site names none")
    if image:
        return skipped(NAME, "the image brings its own; --job tries it")
    names = libraries(site.accelerator)
    lines = [
        *(f"module load {shlex.quote(each)}" for each in site.modules),
        *site.prologue,
        'export LD_LIBRARY_PATH="${CRAY_LD_LIBRARY_PATH:+$CRAY_LD_LIBRARY_PATH:}$LD_LIBRARY_PATH"',
        shlex.join(["exec", sys.executable, "-c", SEARCH, *names]),
    ]
    done = called(["bash", "-lc", "\n".join(lines)])
    found = done.out.split()
    if found and found[-1] in names:
        return ok(NAME, f"{found[-1]} is found")
    wanted = " or ".join(names)
    return failed(
        NAME,
        f"no {wanted} is found with the site's modules: a training on several nodes would abort, "
        f'for NCCL_NET asks for "{site.network_plugin}"',
        "Run in an image that has it (--image; docs/containers.md), or add the folder of the "
        "plug-in (aws-ofi-nccl) to LD_LIBRARY_PATH in the `prologue` of a site file of your own.",
    )
