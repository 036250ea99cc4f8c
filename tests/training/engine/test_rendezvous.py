"""At which address the processes of a training meet, and what they take from each other."""

import errno
import socket
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from ranks import start

from pipeline.outcome import classify
from pipeline.training.engine.rendezvous import listen, store

TIMEOUT = timedelta(seconds=20)


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def listening(port):
    """The addresses at which anything listens on `port`, as the kernel has them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ends = [line.split()[1].split(":") for line in lines if line.split()[3] == "0A"]
    return {
        socket.inet_ntoa(bytes.fromhex(at)[::-1]) for at, number in ends if int(number, 16) == port
    }


def open_ports():
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return {line.split()[1] for line in lines if line.split()[3] == "0A"}


def test_the_store_listens_at_the_address_of_the_job_alone(port, monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    first = store(0, 2, TIMEOUT)
    assert listening(port) == {"127.0.0.1"}
    found = []

    def joins():
        other = store(1, 2, TIMEOUT)
        found.append(other.get("answer"))

    joining = threading.Thread(target=joins)
    joining.start()
    first.set("answer", "42")
    joining.join()
    assert found == [b"42"]


def test_a_lone_process_listens_nowhere():
    before = open_ports()
    alone = store(0, 1, TIMEOUT)
    alone.set("a", "1")
    assert open_ports() <= before


@pytest.mark.parametrize(
    ("host", "nodes", "at"),
    [
        ("127.0.0.1", 1, "127.0.0.1"),
        ("localhost", 1, "127.0.0.1"),
        ("127.0.1.1", 2, "0.0.0.0"),  # a name that stands for the loopback: Debian's /etc/hosts
        ("192.0.2.1", 2, "0.0.0.0"),  # an address of no node of ours (RFC 5737)
    ],
)
def test_where_others_know_another_address_it_listens_at_all(port, host, nodes, at):
    with listen(host, port, nodes=nodes):
        assert listening(port) == {at}


def test_a_taken_port_is_an_end_after_which_the_chain_goes_on(port):
    with listen("127.0.0.1", port, nodes=1), pytest.raises(OSError, match="is taken") as caught:
        listen("127.0.0.1", port, nodes=1)
    assert caught.value.errno == errno.EADDRINUSE
    failure = classify(caught.value, processes=2)
    assert failure.outcome.name == "port_taken"
    assert failure.outcome.retry.value == "goes on"


def test_processes_send_each_other_json_and_no_pickles(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, pickle, sys\n"
        "def refuse(*words, **settings): raise AssertionError('a pickle')\n"
        "from pipeline.training.engine.collectives import broadcast_json\n"
        "from pipeline.training.engine.engine import World, join\n"
        "world = World(); join(world)\n"
        "pickle.loads = pickle.Unpickler = refuse\n"
        "for value in ([], None, True, ['/ä/step-8', 8]):\n"
        "    sent = value if world.is_first else 'of another process'\n"
        "    assert broadcast_json(sent, world.device) == value\n"
        "import torch; torch.distributed.barrier()\n"
        "sys.stdout.flush(); os._exit(0)\n"
    )
    log = tmp_path / "log"
    processes = start([sys.executable, str(program)], size=2, log=log)
    assert [process.wait(120) for process in processes] == [0, 0], log.read_text()


def test_no_code_of_ours_sends_objects():
    sources = Path(sys.modules["pipeline"].__file__).parent.rglob("*.py")
    assert not [path for path in sources if "object_list" in path.read_text()]
