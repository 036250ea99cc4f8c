"""The container recipes: pinned, small, not root; and the CPU one followed to its end."""

import os
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser
from recipe import Stage, follow

import pipeline

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "containers").glob("*.Dockerfile"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"

every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)


def steps(recipe: Path) -> list[tuple[str, str]]:
    parsed = DockerfileParser(str(recipe), env_replace=False).structure
    return [(step["instruction"], step["value"]) for step in parsed]


@every_recipe
def test_bases_are_pinned(recipe: Path) -> None:
    known: set[str] = set()
    for instruction, value in steps(recipe):
        if instruction == "FROM":
            base, *name = value.split(" AS ")
            pinned = "@sha256:" in base or (base.count(":") == 1 and not base.endswith(":latest"))
            assert base in known or pinned, base
            known |= set(name)


@every_recipe
def test_the_image_runs_as_no_root_and_carries_its_commit(recipe: Path) -> None:
    image = steps(recipe)
    last_from = max(i for i, (instruction, _) in enumerate(image) if instruction == "FROM")
    last = image[last_from:]
    assert ("USER", "1000") in last
    assert any("image.revision=" in value for name, value in last if name == "LABEL")
    assert not any(name in ("ENTRYPOINT", "CMD") for name, _ in last)


@every_recipe
def test_what_is_copied_is_in_the_build_context(recipe: Path) -> None:
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [value.split()[:-1] for name, value in steps(recipe) if name == "COPY"]
    local = {word for words in copied if "--from=" not in words[0] for word in words}
    assert local == allowed


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The CPU image, as far as it can be made without an engine.

    Its packages are those of the environment that runs the tests, which the same pins made;
    COSMOTRON_WHOLE_RECIPE=1 installs them anew, for some minutes.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can follow a recipe in a root of its own")
    root = tmp_path_factory.mktemp("image")
    root.parent.chmod(0o755)
    whole = os.environ.get("COSMOTRON_WHOLE_RECIPE") == "1"
    packages = None if whole else Path(sysconfig.get_path("purelib"))
    told = {"COMMIT": COMMIT, "TORCH_INDEX": "file:///none"}  # torch from where pip looks here
    yield follow(ROOT / "containers" / "cpu.Dockerfile", ROOT, root, packages, **told)
    shutil.rmtree(root)


@pytest.mark.slow
def test_the_cpu_image_plans_a_campaign(image: Stage) -> None:
    assert image.run("id -u").strip() == "1000"
    assert pipeline.__version__ in image.run("cosmotron --version")
    planned = image.run("cosmotron plan quickstart --site local")
    assert "node-hours" in planned
    assert image.run("which cosmotron").strip() == "/opt/cosmotron/bin/cosmotron"


@pytest.mark.slow
def test_the_cpu_image_holds_what_a_training_imports(image: Stage) -> None:
    image.run("python -c 'import deepspeed, torch, zarr, pipeline.training.programs.pretrain'")


@pytest.mark.slow
def test_the_cpu_image_holds_no_sources_and_no_caches(image: Stage) -> None:
    assert image.labels["org.opencontainers.image.revision"] == COMMIT
    assert not image.path("/src").exists()
    assert not list(image.path("/root").iterdir())
