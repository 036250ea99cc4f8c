"""The documents keep their word: links lead somewhere, and what can be typed is understood."""

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typed_pages import steps

from pipeline.campaign import Campaign, Dataset, Finetune
from pipeline.campaign.provenance import Provenance
from pipeline.catalog import Declaration, read
from pipeline.downstream import AnyTask
from pipeline.families import Model
from pipeline.site import Site

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NOTEBOOKS = sorted((ROOT / "examples").rglob("*.ipynb"))
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)")
STATION = re.compile(r"`(pipeline/[\w/]+\.py)(?::(\w+))?`")
TERM = re.compile(r"^\| \*\*([\w -]+)\*\*", re.MULTILINE)
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


class Datasets(Declaration):
    """The datasets of a campaign."""

    datasets: dict[str, Dataset]


class Models(Declaration):
    """The part of a campaign that declares models."""

    models: dict[str, Model]


class Finetunes(Declaration):
    """The fine-tunings of a campaign."""

    finetune: dict[str, Finetune]


class Head(Declaration):
    """The head of a fine-tuning alone."""

    head: AnyTask


class Heads(Declaration):
    """The heads of a campaign's fine-tunings."""

    finetune: dict[str, Head]


class Provenanced(Declaration):
    """The licence and the citations of a campaign."""

    provenance: Provenance


KINDS = {
    "# a campaign": Campaign,
    "# a site": Site,
    "# datasets of a campaign": Datasets,
    "# models of a campaign": Models,
    "# fine-tuning in a campaign": Finetunes,
    "# head of a fine-tuning in a campaign": Heads,
    "# provenance in a campaign": Provenanced,
}
CUSTOM_FILES = {"my_model.py": "add-a-model.md", "my_task.py": "downstream.md"}


def blocks(language):
    """Return (page, text) of the code blocks of a language in all pages."""
    return [
        pytest.param(text, id=f"{page.name}-{number}")
        for page in PAGES
        for number, (_, name, text) in enumerate(BLOCK.findall(page.read_text()))
        if name == language
    ]


def code_of(page):
    """Return the Python of a page of docs/, all blocks as one file."""
    found = BLOCK.findall((ROOT / "docs" / page).read_text())
    return "\n".join(textwrap.dedent(text) for _, language, text in found if language == "python")


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for path, anchor in LINK.findall(page.read_text()):
        target = page.parent / path if path else page
        assert target.exists(), f"{page}: {path}"
        assert not anchor or anchor in anchors(target), f"{page}: #{anchor}"


def defines(path, name):
    """Return whether `path` is a file that defines `name`, if one is given."""
    if not path.is_file():
        return False
    return not name or re.search(rf"^ *(?:def|class) {name}\b", path.read_text(), re.MULTILINE)


def test_every_station_of_the_architecture_exists():
    stations = STATION.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len(stations) > 30
    missing = [f"{path}:{name}" for path, name in stations if not defines(ROOT / path, name)]
    assert not missing


def test_every_room_that_the_architecture_and_the_readme_name_exists():
    readme = (ROOT / "README.md").read_text()
    named = re.findall(r"^├── (\w+)/ ", readme, re.MULTILINE)
    there = {path.name for path in (ROOT / "pipeline").iterdir() if (path / "__init__.py").exists()}
    assert set(named) == there


def test_the_glossary_is_sorted_and_each_term_is_used():
    glossary = ROOT / "docs" / "glossary.md"
    terms = TERM.findall(glossary.read_text())
    assert terms == sorted(terms)
    assert len(terms) > 40
    sources = [path for path in PAGES if path != glossary] + sorted(
        (ROOT / "pipeline").rglob("*.py")
    )
    text = "\n".join(path.read_text() for path in sources).lower()
    unused = [term for term in terms if not re.search(rf"\b{term}s?\b", text)]
    assert not unused


@pytest.mark.parametrize("text", blocks("toml"))
def test_declarations_are_understood(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, page in CUSTOM_FILES.items():  # the files that the examples tell you to write
        Path(name).write_text(code_of(page))
    Path("my_pairs.py").write_text("def pairs(a, b): ...\n")
    Path("examples").symlink_to(ROOT / "examples")
    for step in (each for page in PAGES for each in steps(page) if each.kind == "save"):
        Path(step.file).write_text(step.text)
    path = tmp_path / "declaration.toml"
    path.write_text(text)
    read(path, KINDS[text.partition("\n")[0]])


@pytest.mark.parametrize("text", blocks("python"))
def test_python_is_python(text):
    compile(
        re.sub(r"^   ", "", text, flags=re.MULTILINE) if text[:1] == " " else text, "doc", "exec"
    )


def commands():
    """Return every `cosmotron …` line of the pages, without its remark."""
    lines = [line for page in PAGES for line in page.read_text().splitlines()]
    return sorted({line.partition("  #")[0].strip() for line in lines if line[:10] == "cosmotron "})


@pytest.mark.parametrize("line", commands())
def test_commands_exist_with_their_options(line):
    words = shlex.split(line)[1:]
    verb = words[: 2 if words[0] in ("sites", "data", "weights") else 1]
    shown = subprocess.run(
        [sys.executable, "-m", "pipeline", *verb, "--help"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert all(word in shown for word in words if word.startswith("--"))
