"""The devices of a compute node, as nvidia-smi or rocm-smi shows them there."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.scheduler.interface import SchedulerError
from pipeline.site import cpu_numbers

QUERY = "nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits"
# What a shell on the node runs: the name of the tool, its table, and the topology where it has one.
SCRIPT = (
    f"if command -v nvidia-smi >/dev/null; then echo cuda; {QUERY}; echo topology; "
    "nvidia-smi topo -m; "
    "elif command -v rocm-smi >/dev/null; then echo rocm; "
    "rocm-smi --showproductname --showmeminfo vram --json; else echo none; fi"
)
COMMAND = ("bash", "-c", SCRIPT)
CPUS = "CPU Affinity"


@dataclass(frozen=True)
class Devices:
    """The devices of a node: their accelerator and name, how many, and the memory of each.

    `cpus` are those nearest to each, empty where the tool does not say, or says the same of two.
    """

    accelerator: str
    name: str
    count: int
    memory_gb: int
    cpus: tuple[str, ...] = ()


def parse(answer: str) -> Devices | None:
    """Return the devices that `SCRIPT` printed; None where the node has neither tool.

    Raises:
        SchedulerError: It printed something else.
    """
    tool, _, rest = answer.strip().partition("\n")
    try:
        if tool == "cuda":
            return _of_nvidia(*rest.partition("topology\n")[::2])
        if tool == "rocm":
            return _of_amd(json.loads(rest))
    except (ValueError, LookupError) as error:
        message = f"{tool}: its table of devices is not as documented: {rest[:200]!r}."
        raise SchedulerError(message) from error
    if tool != "none":
        message = f"a node printed {answer[:200]!r}, where a table of devices was expected."
        raise SchedulerError(message)
    return None


def _of_nvidia(table: str, topology: str) -> Devices:
    """Return the devices in nvidia-smi's CSV of names and MiB, with the CPUs of `topo -m`."""
    rows = [line.rpartition(",")[::2] for line in table.splitlines() if line.strip()]
    memory = round(float(rows[0][1]) / 1024)
    return Devices("cuda", rows[0][0].strip(), len(rows), memory, _cpus(topology, len(rows)))


def _cpus(topology: str, count: int) -> tuple[str, ...]:
    """Return the column "CPU Affinity" of each GPU; nothing where two share CPUs."""
    plain = re.sub(r"\x1b\[\d*m", "", topology)
    lines = [[word.strip() for word in line.split("\t")] for line in plain.splitlines()]
    column = next((line.index(CPUS) for line in lines if CPUS in line), None)
    rows = [line for line in lines if re.fullmatch(r"GPU\d+", line[0])]
    if column is None or len(rows) != count:
        return ()
    found = tuple(line[column] for line in rows)
    return found if _are_apart(found) else ()


def _are_apart(lists: Sequence[str]) -> bool:
    """Whether no CPU is in two of the lists."""
    numbers = [cpu for each in lists for cpu in cpu_numbers(each)]
    return len(numbers) == len(set(numbers))


def _of_amd(cards: dict[str, dict[str, str]]) -> Devices:
    """Return the devices in rocm-smi's JSON."""
    rows = [each for name, each in cards.items() if name.startswith("card")]
    (first, *_) = rows
    name = next(first[key] for key in ("Card Series", "Card series", "Card Model") if key in first)
    memory = round(int(first["VRAM Total Memory (B)"]) / 2**30)
    return Devices("rocm", name, len(rows), memory)
