"""A damaged file is told, or changes nothing, wherever its format has a checksum.

In this process, on few places; `python -m tests.damage` stages hundreds by the command.
"""

import numpy as np
import pytest
from damage.once import DAMAGES
from damage.samples import FORMATS

from pipeline.data.errors import BadInput
from pipeline.data.events import Array  # noqa: TC001
from pipeline.data.experiments import experiment
from pipeline.data.readers import opened

CASES = {"bit flips": 40, "truncations": 10}


def content(path, kind):
    """Return all that a reader gives of `path`, and what it says of checksums."""
    with opened(path, experiment(kind)) as entries:
        events, rejected = entries.read(0, entries.count)
        arrays: dict[str, Array] = {"points": events.points, "offsets": events.offsets}
        arrays |= {**events.per_point, **events.per_event, **entries.tables}
        return {name: values.tobytes() for name, values in arrays.items()}, rejected


def content_or_refusal(path, kind):
    try:
        return content(path, kind)
    except BadInput as failure:
        return str(failure)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_told_or_changes_nothing(tmp_path, name, damage):
    made = FORMATS[name]
    path = made.write(tmp_path)
    whole, before = path.read_bytes(), content(path, made.experiment)
    rng = np.random.default_rng(7)
    told = 0
    for _ in range(CASES[damage]):
        path.write_bytes(DAMAGES[damage](whole, rng))
        found = content_or_refusal(path, made.experiment)
        if isinstance(found, str):
            assert path.name in found
            assert "\n" not in found
            told += 1
        else:
            assert found == before or not (made.checksum and made.of_all)
    assert told or damage == "bit flips"


@pytest.mark.parametrize("name", FORMATS)
def test_a_reader_says_by_what_a_wrong_bit_is_told(tmp_path, name):
    made = FORMATS[name]
    with opened(made.write(tmp_path), experiment(made.experiment)) as entries:
        assert entries.checksum == made.checksum
