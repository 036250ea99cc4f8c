"""Folders of this node's own disk for what compilers cache, which nobody else can write to."""

import os
import stat
import tempfile
from importlib.metadata import version
from pathlib import Path

from pipeline.job import batch_job_id
from pipeline.trust import user_name

CACHES = ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR")


def cache_on_node(local_rank: int) -> None:
    """Put compiler caches on this node, by user, job and process, unless the environment sets them.

    In a home directory that all nodes share, many processes would lock and write the same files.
    What lies in such a cache is run as code. Where no scheduler hands out the node, and nobody
    clears its disk, all jobs of one version of torch share a cache.
    """
    if all(name in os.environ for name in CACHES):
        return
    has_scheduler = {"SLURM_JOB_ID", "PBS_JOBID"} & os.environ.keys()
    shared_by = batch_job_id() if has_scheduler else f"torch-{version('torch')}"
    names = (user_name(), shared_by, str(local_rank))
    folder = private_folder("-".join(("cosmotron", *names)))
    for name in CACHES:
        os.environ.setdefault(name, str(folder / name.removesuffix("_DIR").lower()))


def private_folder(name: str) -> Path:
    """Return the folder of that name for temporary files, which is this user's alone.

    Another user may have made one of that name, or a link, for us to use: then a new one is made,
    with a name that nobody can guess.
    """
    folder = Path(tempfile.gettempdir(), name)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not _is_private(folder):
            return Path(tempfile.mkdtemp(prefix=f"{name}-"))
    return folder


def _is_private(folder: Path) -> bool:
    """Whether `folder` is a folder, not a link to one, and nobody but this user may use it."""
    found = folder.lstat()
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and stat.S_IMODE(found.st_mode) & 0o077 == 0
    )
