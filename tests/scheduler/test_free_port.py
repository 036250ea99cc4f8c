"""The port at which the processes of a training meet: below those given to all, and free."""

import shlex
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline import catalog
from pipeline.scheduler.script import SHELF, _templates


def given() -> int:
    """The first port that the kernel gives to any program."""
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def port_of(number: int) -> int:
    """The port that a batch script takes for a job of that number."""
    macro = _templates(catalog.folder(SHELF), shlex.quote).get_template("free_port.j2").module
    lines = ["set -e", "MASTER_ADDR=127.0.0.1", macro.free_port(str(number)), "echo $MASTER_PORT"]  # type: ignore[attr-defined]
    script = ["bash", "-c", "\n".join(lines)]
    return int(subprocess.run(script, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("number", [0, 42, 11_999, 12_345_678])
def test_a_port_is_below_those_that_the_kernel_gives(number: int) -> None:
    assert 1024 <= port_of(number) < given()
    assert port_of(number) != port_of(number + 1)


def test_ports_that_are_taken_are_passed_over() -> None:
    first = port_of(4242)
    with ExitStack() as stack:
        for port in (first, first - 1):
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        assert port_of(4242) == first - 2
