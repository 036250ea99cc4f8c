"""The verbs for published weights start the program of the torch side, and end as it does."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.outcome import Exit

FILE = Path(__file__).parent / "golden" / "published" / "particlenet_small" / "weights.safetensors"


def test_weights_go_in_and_out(cosmotron: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder, back = tmp_path / "model", tmp_path / "back.pt"
    done = cosmotron("weights", "import", "particlenet", FILE, "--to", folder)
    assert done.code == 0, done.words
    assert f'start from it with [models.x] weights = "{folder}"' in done.words
    done = cosmotron("weights", "export", folder, "--to", back)
    assert done.code == 0, done.words
    assert back.is_file()


def test_an_error_is_one_message_and_its_exit_code(cosmotron: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = cosmotron("weights", "import", "particlenet", tmp_path / "x.pt", "--to", tmp_path / "m")
    assert done.code == Exit.BAD_INPUT
    assert done.words.startswith("error ")
    assert "x.pt: no such file" in done.words
    assert not (tmp_path / "m").exists()
