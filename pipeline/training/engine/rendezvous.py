"""How the processes of a training find each other: through a store that listens at one address.

torch's own rendezvous listens at all addresses of the first node, and has no password.
"""

import errno
import os
import socket
from datetime import timedelta
from typing import Any

import torch
from torch.distributed import (  # type: ignore[attr-defined]  # torch's stub leaves them out
    HashStore,
    Store,
    TCPStore,
)

LOOPBACK = ("127.", "::1")
BACKLOG = 4096  # connections that wait: all processes of a large job may come at once


def join_group(rank: int, size: int, device: torch.device, timeout: timedelta) -> None:
    """Join the `size` processes, by gloo on CPUs and nccl else; what hangs longer is an error."""
    is_cpu = device.type == "cpu"
    bound: dict[str, Any] = {} if is_cpu or size == 1 else {"device_id": device}
    torch.distributed.init_process_group(
        "gloo" if is_cpu else "nccl",
        store=store(rank, size, timeout),
        rank=rank,
        world_size=size,
        timeout=timeout,
        **bound,
    )


def store(rank: int, size: int, timeout: timedelta) -> Store:
    """Return the store of `size` processes; a lone one needs no socket."""
    if size == 1:
        return HashStore()
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if rank != 0:
        return TCPStore(host, port, size, is_master=False, timeout=timeout)
    listening = listen(host, port, nodes=int(os.environ.get("COSMOTRON_NODES", "1")))
    return TCPStore(
        host,
        port,
        size,
        is_master=True,
        timeout=timeout,
        wait_for_workers=False,
        master_listen_fd=listening.detach(),
    )


def listen(host: str, port: int, *, nodes: int) -> socket.socket:
    """Return a socket that listens at the address of `host` alone.

    Where several nodes take part and the name stands for the loopback here, as on Debian, or for no
    address of this node, it listens at all addresses, as torch does: others know another address.

    Raises:
        OSError: The port is taken.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    if nodes == 1 or not str(address[0]).startswith(LOOPBACK):
        try:
            return _bound(family, (str(address[0]), port))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
    return _bound(family, ("", port))


def _bound(family: int, address: tuple[str, int]) -> socket.socket:
    """Return a socket that listens at `address`; an error names it."""
    try:
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        message = (
            f"port {address[1]} of {address[0] or 'this node'} is taken by another program; the "
            "next link takes another port"
        )
        raise OSError(error.errno, message) from error
