"""Weights after some steps, of every objective, however a training is divided and interrupted.

`python -m tests.equality [NAME…]` prints the whole table: each row an objective, each column a
setting, each number the largest difference of a weight from those of one process that takes each
batch in one piece, over the largest weight. Of what is larger, variances and counts, over that.
"""

import signal
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from safetensors.numpy import load_file

LINK_STEPS = {1: 6, 3: 2}  # of each link, by the number of links: two passes over the events
TOLERANCE = 1e-5
LOG = "log.txt"


@dataclass(frozen=True)
class Setting:
    """The processes and the ZeRO stage of each link, and how many events go forward at once."""

    ranks: tuple[int, ...]
    zero: tuple[int, ...]
    micro_events: int | None = None

    @property
    def title(self) -> str:
        """What stands over the column."""
        ranks, zero = ("→".join(map(str, each)) for each in (self.ranks, self.zero))
        micro = "" if self.micro_events is None else f", {self.micro_events} at once"
        return f"{ranks} processes{micro}, ZeRO {zero}"


REFERENCE = "reference"
QUICK = {
    "1x3": Setting((1,), (1,), 3),
    "killed": Setting((4, 1, 2), (2, 0, 3), 1),
}
WHOLE = {  # of which no process takes its share in several parts
    "2": Setting((2,), (3,)),
    "4": Setting((4,), (2,)),
    "killed-1-4-2": Setting((1, 4, 2), (2, 2, 2)),
}
MORE = {
    "killed-2-1-4": Setting((2, 1, 4), (1, 0, 3), 2),
    "4x1": Setting((4,), (2,), 1),
    **{f"1-zero{zero}": Setting((1,), (zero,)) for zero in (1, 2, 3)},
    **{f"2x1-zero{zero}": Setting((2,), (zero,), 1) for zero in range(4)},
    **{f"4-zero{zero}": Setting((4,), (zero,)) for zero in range(4)},
    "3x2": Setting((3,), (1,), 2),
    "killed-4-2-1": Setting((4, 2, 1), (3, 2, 1), 1),
}
SETTINGS = {REFERENCE: Setting((1,), (0,)), **QUICK, **WHOLE, **MORE}


def run(folder: Path, setting: str, names: list[str]) -> None:
    """Train all of `names` in a setting, link after link."""
    from ranks import start

    log, script = folder / LOG, str(Path(__file__).parent / "equality_ranks.py")
    links = SETTINGS[setting].ranks
    for link, size in enumerate(links):
        command = [sys.executable, script, str(folder), setting, str(link), *names]
        expected = 0 if link == len(links) - 1 else -signal.SIGKILL
        codes = [rank.wait(1200) for rank in start(command, size=size, log=log)]
        assert codes == [expected] * size, f"{setting}, link {link}: {codes}\n{log.read_text()}"


def differences(folder: Path, setting: str, names: list[str]) -> dict[str, float]:
    """Return by how much the weights of each objective differ from those of the reference."""
    from every_objective import ALONE_AND_TOGETHER

    found = {}
    for number, name in enumerate(names):
        ours, theirs = (
            load_file(folder / each / str(number) / "weights.safetensors")
            for each in (setting, REFERENCE)
        )
        trained = dict(ALONE_AND_TOGETHER[name].system().module.named_parameters())
        largest = max(abs(theirs[key]).max() for key in trained)
        # What is no parameter, a variance or a count, may be of a larger size of its own.
        sizes = {key: max(largest, abs(theirs[key]).max()) for key in theirs}
        apart = {key: abs(ours[key].astype(float) - theirs[key]).max() for key in theirs}
        found[name] = max(float(apart[key] / sizes[key]) for key in theirs)
    return found


def table(names: list[str], settings: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return the difference of each objective in each setting, and print the table."""
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    with tempfile.TemporaryDirectory() as path:
        run(Path(path), REFERENCE, names)
        for setting in settings:
            run(Path(path), setting, names)
            for name, apart in differences(Path(path), setting, names).items():
                found[name][setting] = apart
    for setting in settings:
        print(f"{setting}: {SETTINGS[setting].title}")
    wide = max(map(len, names))
    print(" " * wide, *(f"{each:>12}" for each in settings))
    for name, row in found.items():
        print(f"{name:{wide}}", *(f"{row[each]:12.1e}" for each in settings))
    return found


def main(argv: list[str]) -> int:
    """Print the whole table, of the objectives that are named or of all."""
    from every_objective import CASES, exception

    names = argv or list(CASES)
    rows = table(names, [*QUICK, *WHOLE, *MORE])
    bad = [n for n, row in rows.items() if max(row.values()) > TOLERANCE and not exception(n)]
    print(f"more than {TOLERANCE}: {', '.join(bad) or 'none'}")
    return len(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
