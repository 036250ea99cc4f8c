"""When a pilot is told to leave, where its node's clock and the login host's disagree."""

import logging
import time

import pytest

pytest.importorskip("parsl")

from parsl.executors.high_throughput.interchange import PKL_SHUTDOWN_CODE

from pipeline.workflow.interchange import OnePilotOneClock

WORKS_SECONDS = 90.0


class Sent:
    """A socket that keeps what is sent."""

    def __init__(self):
        self.messages = []

    def send_multipart(self, parts):
        self.messages.append(parts)


@pytest.fixture
def interchange(tmp_path):
    made = OnePilotOneClock(
        client_address="127.0.0.1",
        interchange_address="127.0.0.1",
        client_ports=(20001, 20002, 20003),  # nobody listens: it would connect once somebody does
        worker_port=None,
        worker_port_range=(20100, 20900),
        hub_address=None,
        hub_zmq_port=None,
        heartbeat_threshold=60,
        logdir=str(tmp_path),
        logging_level=logging.INFO,
        manager_selector=None,
        poll_period=10,
        cert_dir=None,
        run_id="r",
        log_config=None,
        _check_python_mismatch=True,
    )
    yield made
    made.zmq_context.destroy(linger=0)


def registered(interchange, ahead_seconds):
    """Let a pilot register whose node's clock is `ahead_seconds` ahead; return what it is sent."""
    start = time.time() + ahead_seconds
    interchange.manager_sock.close(linger=0)
    interchange.manager_sock = Sent()
    record = {"start_time": start, "drain_time": start + WORKS_SECONDS}
    interchange._ready_managers[b"pilot"] = record | {
        "draining": False,
        "tasks": [],
        "active": True,
    }
    interchange.expire_drained_managers(set(), None)
    return interchange.manager_sock.messages


@pytest.mark.parametrize("ahead_seconds", [-600.0, 0.0, 600.0])
def test_a_pilot_works_as_long_as_it_says_whatever_its_clock(
    interchange, ahead_seconds, monkeypatch
):
    sent = registered(interchange, ahead_seconds)
    now = time.time()
    assert not sent
    monkeypatch.setattr(time, "time", lambda: now + WORKS_SECONDS - 1)
    interchange.expire_drained_managers(set(), None)
    assert not sent
    monkeypatch.setattr(time, "time", lambda: now + WORKS_SECONDS + 1)
    interchange.expire_drained_managers(set(), None)
    assert sent == [[b"pilot", PKL_SHUTDOWN_CODE]]
