"""Weights that authors publish, taken in and given back."""

import json
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2]))

import tomli_w
from safetensors.torch import load_file, save_file

from pipeline.campaign import model_folder
from pipeline.data.checksums import sha256
from pipeline.data.training_data import gathered
from pipeline.families.particlenet.spec import ParticleNet
from pipeline.outcome import Exit
from pipeline.training.programs import convert
from tests.golden import (
    eggnet,
    epic,
    exatrkx,
    fm4npp,
    mpm,
    mpm_vqvae,
    omnijet,
    omnijet_tokens,
    omnilearned,
    part,
    particlenet,
    polarbert,
)
from tests.golden.cases import Case

PUBLISHED = Path(__file__).parents[1] / "golden" / "published" / "particlenet_small"
FILE = PUBLISHED / "weights.safetensors"


@dataclass(frozen=True)
class Done:
    """How the program ended, and what it printed."""

    code: int
    words: str


@pytest.fixture
def convert_with(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the program in this process."""

    def run(*words: object) -> Done:
        code = convert.main(list(map(str, words)))
        printed = capsys.readouterr()
        return Done(code, printed.out + printed.err)

    return run


@pytest.fixture
def imported(convert_with: Any, tmp_path: Path) -> Path:
    """The folder of imported weights."""
    done = convert_with("import", "particlenet", FILE, tmp_path / "model")
    assert done.code == 0, done.words
    return tmp_path / "model"


def test_the_folder_says_what_it_holds_and_where_it_is_from(imported: Path) -> None:
    content = model_folder.read(imported)
    assert content is not None
    given = json.loads((PUBLISHED / "case.json").read_text())["configuration"]
    model = content.model
    assert isinstance(model, ParticleNet)
    assert model.inner == given["fc_params"][0][0]
    assert model.widths == tuple(widths[0] for _, widths in given["conv_params"])
    assert (content.weights.licence, content.head) == ("MIT", None)
    card = (imported / "README.md").read_text()
    assert sha256(FILE) in card
    assert "license: mit" in card


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_what_goes_in_comes_out_bit_for_bit(
    convert_with: Any, imported: Path, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"back.{suffix}"
    assert convert_with("export", imported, file).code == 0
    back = load_file(file) if suffix == "safetensors" else torch.load(file, weights_only=True)
    there = load_file(FILE)
    assert {name.removeprefix("mod.") for name in back} == there.keys()
    assert all(torch.equal(each, there[n.removeprefix("mod.")]) for n, each in back.items())
    again = convert_with("export", imported, file)
    assert again.code == Exit.BAD_INPUT
    assert f"{file}: is there already" in again.words


CASES = {
    "particlenet_small": particlenet,
    "part_jetclass": part,
    "part_sophon": part,
    "eggnet": eggnet,
    "eggnet_one_iteration": eggnet,
    "eggnet_recurrent_gnn": eggnet,
    "epic_fm": epic,
    "fm4npp-mamba1": fm4npp,
    "fm4npp-mamba2": fm4npp,
    "fm4npp-mamba2-concat": fm4npp,
    "mpm_tokens": mpm,
    "mpm_clusters": mpm,
    "mpm_regression": mpm,
    "mpm_vqvae": mpm_vqvae,
    "polarbert-base": polarbert,
    "polarbert-flash": polarbert,
    "polarbert-swiglu": polarbert,
    "omnijet_gpt": omnijet,
    "omnijet_vqvae": omnijet_tokens,
    "omnijet_vqvae_mlp": omnijet_tokens,
    "omnilearned-classifier": omnilearned,
    "omnilearned-generator": omnilearned,
    "omnilearned-pretrain": omnilearned,
    "omnilearned-finetune_ftag": omnilearned,
}


@pytest.mark.parametrize("folder", CASES)
def test_each_family_with_a_map_goes_in_and_out(
    convert_with: Any, tmp_path: Path, folder: str
) -> None:
    case = Case(PUBLISHED.parent / folder)
    model = CASES[folder].model_of(case)
    declared = {"model": model.model_dump(mode="json", exclude_none=True)}
    (tmp_path / "model.toml").write_text(tomli_w.dumps(declared))
    (file,) = case.path.glob("weights.*")
    words = ("--model", tmp_path / "model.toml")
    done = convert_with("import", model.family, file, tmp_path / "model", *words)
    assert done.code == 0, done.words
    assert model_folder.read(tmp_path / "model").model == model
    assert convert_with("export", tmp_path / "model", tmp_path / "back.safetensors").code == 0
    names = model.beside("published")
    prefix = getattr(names, "PREFIX", "")
    there = {name.removeprefix(prefix): each for name, each in case.weights.items()}
    there = names.weights_of(there) if hasattr(names, "weights_of") else there
    back = load_file(tmp_path / "back.safetensors")
    back = {name.removeprefix(prefix): each for name, each in back.items()}
    assert back.keys() == there.keys()
    assert all(torch.equal(each, there[name]) for name, each in back.items())


@pytest.fixture
def stages(tmp_path: Path) -> tuple[Path, Path, dict[str, Any]]:
    """A file of each stage of Exa.TrkX, the declaration of the whole, and all weights."""
    folder, weights = tmp_path / "stages", {}
    folder.mkdir()
    models = {}
    for stage in ("embedding", "filter", "gnn"):
        case = Case(PUBLISHED.parent / f"exatrkx_{stage}")
        models[stage] = exatrkx.model_of(case)
        weights |= case.weights
        save_file(case.weights, folder / f"{stage}.safetensors")
    fields = ("width", "layers", "depth", "edge_depth")
    of_filter = ("filter_width", "filter_layers", "filter_norms")
    model = models["embedding"].model_dump(mode="json", exclude_none=True)
    model |= {name: getattr(models["gnn"], name) for name in fields}
    model |= {name: getattr(models["filter"], name) for name in of_filter}
    model["network_columns"] = model["columns"][-3:]
    (tmp_path / "model.toml").write_text(tomli_w.dumps({"model": model}))
    return folder, tmp_path / "model.toml", weights


def test_stages_in_files_of_their_own_go_in_as_a_folder(
    convert_with: Any, tmp_path: Path, stages: tuple[Path, Path, dict[str, Any]]
) -> None:
    folder, model, weights = stages
    done = convert_with("import", "exatrkx", folder, tmp_path / "model", "--model", model)
    assert done.code == 0, done.words
    card = (tmp_path / "model" / "README.md").read_text()
    assert all(sha256(each) in card for each in folder.iterdir())
    assert convert_with("export", tmp_path / "model", tmp_path / "back.pt").code == 0
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    assert back.keys() == weights.keys()
    assert all(torch.equal(each, weights[name]) for name, each in back.items())


def test_a_folder_of_files_that_do_not_belong_together_is_refused(
    convert_with: Any, tmp_path: Path, stages: tuple[Path, Path, dict[str, Any]]
) -> None:
    folder, model, _ = stages
    words = ("import", "exatrkx", folder, tmp_path / "to", "--model", model)
    save_file({"network.0.bias": torch.zeros(3)}, folder / "z.safetensors")
    done = convert_with(*words)
    assert done.code == Exit.BAD_INPUT
    assert "z.safetensors: network.0.bias is in another file of" in done.words
    (folder / "z.safetensors").unlink()
    (folder / "filter.safetensors").unlink()
    done = convert_with(*words)
    assert done.code == Exit.BAD_INPUT
    assert "no input_layer.weight. Is this a file of another model or size?" in done.words
    for file in folder.iterdir():
        file.unlink()
    done = convert_with(*words)
    assert "no file that ends in .ckpt, .pt, .safetensors is in this folder" in done.words
    assert not (tmp_path / "to").exists()
    done = convert_with("import", "exatrkx", FILE, tmp_path / "to")
    assert "exatrkx: shapes do not say which model this is. Give --size or --model." in done.words


class Harmful:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("unpickled",))


def torn(path: Path) -> None:
    path.write_bytes(FILE.read_bytes()[:1000])


def harmful(path: Path) -> None:
    path.write_bytes(pickle.dumps({"w": Harmful()}, protocol=2))


def of_another_model(path: Path) -> None:
    save_file({"backbone.weight": torch.zeros(3)}, path)


def of_another_size(path: Path) -> None:
    save_file(load_file(FILE) | {"fc.1.weight": torch.zeros(3, 3)}, path)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("torn.safetensors", torn, "not a whole file of weights"),
        ("harm.pt", harmful, "holds objects beside tensors, which are not loaded"),
        ("other.safetensors", of_another_model, "not the weights of a ParticleNet"),
        ("size.safetensors", of_another_size, "fc.1.weight has shape (3, 3); this model has"),
        ("none.pt", lambda _: None, "no such file"),
    ],
)
def test_a_file_that_cannot_be_taken_in_leaves_nothing(
    convert_with: Any, tmp_path: Path, name: str, make: Any, message: str
) -> None:
    make(tmp_path / name)
    done = convert_with("import", "particlenet", tmp_path / name, tmp_path / "to")
    assert done.code == Exit.BAD_INPUT
    assert message in done.words
    assert "Traceback" not in done.words
    assert [each.name for each in tmp_path.iterdir()] in ([name], [])


def test_what_cannot_be_asked_for_says_what_can(convert_with: Any, tmp_path: Path) -> None:
    to = tmp_path / "to"
    done = convert_with("import", "particelnet", FILE, to)
    assert done.code == Exit.USAGE
    assert "particelnet is no family of ours. Weights can be imported of: " in done.words
    done = convert_with("import", "deepsets", FILE, to)
    assert done.code == Exit.USAGE
    assert "deepsets has no map of the authors' names." in done.words
    done = convert_with("import", "particlenet", FILE, to, "--size", "huge")
    assert done.code == Exit.USAGE
    assert "size 'huge' is none of this family's: full, kinpid, kin" in done.words
    done = convert_with("export", tmp_path, tmp_path / "x.pt")
    assert done.code == Exit.USAGE
    assert "no config.toml here" in done.words
    assert not to.exists()


def test_an_occupied_folder_is_left_alone(convert_with: Any, imported: Path) -> None:
    before = sorted(imported.iterdir())
    done = convert_with("import", "particlenet", FILE, imported)
    assert done.code != Exit.FINISHED
    assert f"{imported}: not empty. Name another folder." in done.words
    assert sorted(imported.iterdir()) == before


def test_imported_weights_say_what_they_were_trained_on(
    tmp_path: Path, convert_with: Any, store: Path
) -> None:
    told = convert_with(
        "import", "particlenet", FILE, tmp_path / "a", "--trained-on", f"{store}:train"
    )
    assert told.code == 0, told.words
    (events,) = gathered(tmp_path / "a").events
    assert (events.store, events.split) == (store, "train")
    assert events.task == "particlenet, by its authors"
    assert gathered(tmp_path / "a").unknown == ()
    assert convert_with("import", "particlenet", FILE, tmp_path / "b").code == 0
    assert gathered(tmp_path / "b").unknown == (str(tmp_path / "b"),)


def test_a_split_that_the_store_lacks_is_told(
    tmp_path: Path, convert_with: Any, store: Path
) -> None:
    told = convert_with(
        "import", "particlenet", FILE, tmp_path / "a", "--trained-on", f"{store}:all"
    )
    assert told.code == Exit.BAD_INPUT
    assert f"--trained-on {store}:all: {store} has no split 'all', only train." in told.words
    assert not (tmp_path / "a").exists()
