"""Whether W&B's server is within reach of a training."""

import netrc
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

SERVER = "https://api.wandb.ai"  # W&B's own default
ANSWER_SECONDS = 5.0


def mode() -> Literal["online", "offline"]:
    """Return "online" if this node reaches the server and has a key for it.

    The address is that of WANDB_BASE_URL, the way that of the proxies in the environment, which a
    site may declare. One line says why it is offline.
    """
    address = os.environ.get("WANDB_BASE_URL", SERVER)
    if not _has_key(urlsplit(address).hostname or ""):
        _log("no key: neither WANDB_API_KEY nor a line in .netrc")
        return "offline"
    try:
        with urllib.request.build_opener().open(address, timeout=ANSWER_SECONDS):
            return "online"
    except urllib.error.HTTPError:
        return "online"  # it answers
    except (OSError, ValueError) as error:
        _log(f"{address} does not answer from this node ({getattr(error, 'reason', error)})")
        return "offline"


def _has_key(host: str) -> bool:
    """Return whether there is a key for `host`."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return netrc.netrc(str(path)).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _log(why: str) -> None:
    print(
        f"wandb: offline, since {why}. From a login node: wandb sync <task>/wandb/offline-run-*",
        file=sys.stderr,
    )
