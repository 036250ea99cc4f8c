from pathlib import Path

import pytest

from pipeline import catalog
from pipeline.catalog import Declaration, DeclarationError
from pipeline.site import Site

SITES = catalog.folder("sites")


class Leaf(Declaration):
    number: int


class Tree(Declaration):
    leaf: Leaf | None = None
    leaves: dict[str, Leaf] = {}
    row: tuple[Leaf, ...] = ()


def problem(tmp_path: Path, text: str, model: type[Declaration] = Tree) -> str:
    path = tmp_path / "tree.toml"
    path.write_text(text)
    with pytest.raises(DeclarationError) as caught:
        catalog.read(path, model)
    message = str(caught.value)
    assert str(path) in message
    return message.removeprefix(f"{path}:").strip()


def test_what_is_declared_is_listed() -> None:
    assert catalog.names("sites") == [
        "frontier",
        "local",
        "perlmutter",
        "polaris",
        "testbed",
        "testbed-frontier",
    ]


def test_a_wheel_s_shelf_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pipeline"
    (tmp_path / "sites").mkdir()
    monkeypatch.setattr(catalog, "PACKAGE", package)
    assert catalog.folder("sites") == tmp_path / "sites"
    (package / "sites").mkdir(parents=True)
    assert catalog.folder("sites") == package / "sites"


def test_a_file_of_the_user_s_is_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((SITES / "local.toml").read_text())
    assert catalog.load("sites", str(path), Site).name == "local"


def test_a_name_like_no_other_lists_what_there_is() -> None:
    with pytest.raises(DeclarationError) as caught:
        catalog.find("sites", "xyz")
    names = "frontier, local, perlmutter, polaris, testbed, testbed-frontier"
    expected = f"No site named 'xyz'. Declared: {names}; or give a .toml."
    assert str(caught.value) == expected


def test_a_misspelt_name_is_corrected() -> None:
    with pytest.raises(DeclarationError, match=r"'fronteer'. Did you mean 'frontier'\?"):
        catalog.find("sites", "fronteer")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"none.toml: cannot be read \(No such file"):
        catalog.read(tmp_path / "none.toml", Tree)


def test_what_is_no_toml(tmp_path: Path) -> None:
    assert problem(tmp_path, "leaf = ").startswith("not valid TOML: Invalid value (at ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not valid JSON: Expecting property name"),
        ("[1]", "not a JSON object."),
        ('{"model_type": "bert"}', "model_type: unknown key. Known here: leaf, leaves, row."),
    ],
)
def test_a_json_file_of_others(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(DeclarationError) as caught:
        catalog.read(path, Tree)
    assert str(caught.value).startswith(f"{path}:")
    assert expected in str(caught.value)


def test_a_json_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"none.json: cannot be read \(No such file"):
        catalog.read(tmp_path / "none.json", Tree)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("leef = 1", "leef: unknown key. Did you mean 'leaf'?"),
        ("xyz = 1", "xyz: unknown key. Known here: leaf, leaves, row."),
        ("[leaf]\nnumber = 1\nnumbr = 1", "leaf.numbr: unknown key. Did you mean 'number'?"),
        (
            "[leaves.a]\nnumber = 1\nnumbr = 1",
            "leaves.a.numbr: unknown key. Did you mean 'number'?",
        ),
        ("[[row]]\nnumber = 1\nnumbr = 1", "row.0.numbr: unknown key. Did you mean 'number'?"),
        ("[leaf]", "leaf.number: Field required."),
        ('[leaf]\nnumber = "one"', "leaf.number: Input should be a valid integer"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(tmp_path: Path, text: str, expected: str) -> None:
    assert problem(tmp_path, text).startswith(expected)


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    found = problem(tmp_path, "leef = 1\n[leaf]\nnumbr = 1")
    assert len(found.splitlines()) == 3


def test_unknown_keys_of_a_site_s_tables_are_corrected(tmp_path: Path) -> None:
    text = (SITES / "perlmutter.toml").read_text()
    text = text.replace("gpu_bind", "gpus_bind", 1).replace("from_nodes", "form_nodes")
    found = problem(tmp_path, text.replace("workers_per_node", "workers_per_nodes"), Site)
    assert "nodes.gpu.gpus_bind: unknown key. Did you mean 'gpu_bind'?" in found
    assert "qos.regular.charge.1.form_nodes: unknown key. Did you mean 'from_nodes'?" in found
    assert "pilot.workers_per_nodes: unknown key. Did you mean 'workers_per_node'?" in found


def test_a_contradiction_in_a_site_names_the_file(tmp_path: Path) -> None:
    text = (SITES / "local.toml").read_text().replace('node = "laptop"', 'node = "manager"')
    found = problem(tmp_path, text, Site)
    assert found == "Value error, training.node 'manager' is none of nodes: laptop."
