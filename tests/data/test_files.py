import pytest

from pipeline.data.errors import BadInput
from pipeline.data.files import whole


@pytest.mark.parametrize(
    ("said", "reason"), [("ends early.\nand more", "ends early"), ("", "ValueError")]
)
def test_damage_is_told_in_one_line(tmp_path, said, reason):
    with pytest.raises(BadInput) as told, whole(tmp_path / "a", "npz file", (ValueError,)):
        raise ValueError(said)
    message = f"{tmp_path / 'a'}: not a whole npz file ({reason}). Fetch or make it again."
    assert str(told.value) == message


def test_a_message_that_is_told_already_stays(tmp_path):
    with pytest.raises(BadInput, match=r"^told$"), whole(tmp_path, "file", (ValueError,)):
        raise BadInput("told")
