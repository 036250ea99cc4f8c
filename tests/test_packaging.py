"""However the package is installed, it finds its shelves: `jobs/`, `sites/` and its templates."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
WAYS = ("wheel", "sdist to wheel", "editable", "bare checkout")

pytestmark = pytest.mark.slow


def call(*command, cwd="/", **environment):
    """Run `command` and return what it prints."""
    ended = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | {key: str(value) for key, value in environment.items()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the files that git tracks, and of nothing else."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no git checkout here, so no telling what belongs to the project")
    clean = tmp_path_factory.mktemp("checkout")
    for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.splitlines()):
        (clean / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clean / name)
    return clean


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory):
    """The folders of a wheel built from the checkout, and of an sdist and its wheel."""
    direct, through = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("sdist")
    build = (sys.executable, "-m", "build", "--no-isolation")
    call(*build, "--wheel", "--outdir", direct, checkout)
    call(*build, "--outdir", through, checkout)
    return {"wheel": direct, "sdist to wheel": through}


@pytest.fixture
def install(checkout, built, tmp_path):
    """Return a function that installs in one of the ways and returns what goes on PYTHONPATH."""

    def installed(way):
        if way == "bare checkout":
            return checkout
        if way != "editable":
            call(*PIP, "--target", tmp_path, *built[way].glob("*.whl"))
            return tmp_path
        call(*PIP, "--no-build-isolation", "--target", tmp_path, "--editable", checkout)
        (pointer,) = tmp_path.glob("*.pth")
        return Path(pointer.read_text().strip())

    return installed


@pytest.mark.parametrize("way", WAYS)
def test_an_install_finds_its_shelves(install, way, tmp_path):
    path = install(way)

    def cosmotron(*words):
        return call(sys.executable, "-m", "pipeline", *words, PYTHONPATH=path)

    home = call(sys.executable, "-c", "import pipeline; print(pipeline.__file__)", PYTHONPATH=path)
    assert Path(home.strip()).is_relative_to(path)
    door = call(
        sys.executable, "-c", "import cosmotron; print(cosmotron.__file__)", PYTHONPATH=path
    )
    assert Path(door.strip()).is_relative_to(path)
    assert Path(door.strip()).with_name("py.typed").is_file()
    sites = cosmotron("sites", "list")
    assert all(site.stem in sites for site in (ROOT / "sites").glob("*.toml"))
    campaigns = cosmotron("campaigns")
    assert all(each.stem in campaigns for each in (ROOT / "jobs/campaigns").glob("*.toml"))
    scripts = tmp_path / "scripts"
    cosmotron("plan", "quickstart", "--site", "perlmutter", "--scripts", scripts)
    assert "#SBATCH --constraint=gpu" in next(scripts.glob("*pretrain*")).read_text()


def files_below(folder):
    """Return the names of all files below `folder` of the checkout, as the package holds them."""
    root = ROOT / "pipeline" if folder.startswith("report") else ROOT
    return {f"pipeline/{path.relative_to(root)}" for path in (root / folder).iterdir()}


@pytest.mark.parametrize("way", ["wheel", "sdist to wheel"])
@pytest.mark.parametrize(
    "folder", ["jobs/templates", "jobs/campaigns", "sites", "report/templates"]
)
def test_a_wheel_holds_what_is_no_python(built, way, folder):
    (wheel,) = built[way].glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert files_below(folder) <= held
    assert not [name for name in held if name.startswith(("tests/", "docs/"))]


def test_an_sdist_holds_what_a_developer_needs(built):
    (sdist,) = built["sdist to wheel"].glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "Makefile",
        "README.md",
        "constraints.txt",
        "examples/calorimeter/campaign.toml",
        "pyproject.toml",
        "tests/conftest.py",
    } <= held
