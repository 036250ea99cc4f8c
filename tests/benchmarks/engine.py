"""The engine's step against a plain PyTorch loop of two ranks, and two ranks against one."""

import json
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.contest import Line
from tests.benchmarks.engine_ranks import BATCH_EVENTS, MODELS

PLAIN, TWO_AGAINST_ONE = ("DDP", "DDP, fused"), 1.7
AIMS = {("ZeRO 1", "DDP"): "≥ 0.9"}
Rounds = list[dict[str, float]]


def lines(folder: Path, *, cores: set[int], rounds: int) -> Iterator[Line | str]:
    """Yield a line for every ZeRO stage and loop, and what a second rank brings."""
    if len(cores) < 2:
        yield "engine: left out, this process may use one core only."
        return
    busy = os.getloadavg()[0]
    for model in MODELS:
        two, one = (ran(folder, model, n, cores=cores, rounds=rounds) for n in (2, 1))
        for stage in ("ZeRO 0", "ZeRO 1"):
            for other in PLAIN:
                yield _against(f"engine step, {model}, {stage}, 2 ranks", two, stage, other)
        yield Line(
            what=f"engine step, {model}, ZeRO 1, 2 ranks against 1",
            ours=_rate(two, "ZeRO 1"),
            other="1 rank",
            theirs=_rate(one, "ZeRO 1"),
            ratio=_middle(one, "ZeRO 1") / _middle(two, "ZeRO 1"),
            aim=f"≥ {TWO_AGAINST_ONE}",
        )
    yield (
        f"The engine's ranks: a core each; when they began, {busy:.1f} programs were at work on "
        f"{len(cores)} cores."
    )


def ran(folder: Path, model: str, size: int, *, cores: set[int], rounds: int) -> Rounds:
    """Return the seconds a step of every side, by round, of `size` ranks on a core each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(size)}
    written = folder / f"engine-{model}-{size}.json"
    command = [sys.executable, "-m", "tests.benchmarks.engine_ranks"]
    command += [str(written), model, str(rounds)]
    ranks, pinned = [], os.sched_getaffinity(0)
    for rank, core in zip(range(size), sorted(cores), strict=False):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        os.sched_setaffinity(0, {core})  # the child's, too
        ranks.append(
            subprocess.Popen(command, env={**os.environ, **world, **own}, stdout=subprocess.DEVNULL)
        )
    os.sched_setaffinity(0, pinned)
    codes = [rank.wait() for rank in ranks]
    if any(codes):
        message = f"a rank of {' '.join(command)} failed."
        raise RuntimeError(message)
    found: Rounds = json.loads(written.read_text())
    return found


def _against(what: str, rounds: Rounds, stage: str, other: str) -> Line:
    return Line(
        what=what,
        ours=_rate(rounds, stage),
        other=other,
        theirs=_rate(rounds, other),
        ratio=statistics.median(each[other] / each[stage] for each in rounds),
        aim=AIMS.get((stage, other), ""),
    )


def _middle(rounds: Rounds, side: str) -> float:
    return statistics.median(each[side] for each in rounds)


def _rate(rounds: Rounds, side: str) -> str:
    return f"{BATCH_EVENTS / _middle(rounds, side):.3g} events/s"
