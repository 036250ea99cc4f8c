"""The audit of pinned packages fails on what is known, and only where the registry answers."""

from typing import Any

import audit
import pytest

SAFE = {"name": "numpy", "version": "2.3.0", "vulns": []}
SKIPPED = {"name": "zarr", "skip_reason": "Dependency not found on PyPI"}
KNOWN = {"id": "PYSEC-2026-1", "fix_versions": ["3.2", "4.0"], "aliases": [], "description": "x"}
AT_RISK = {"name": "jinja2", "version": "3.1.0", "vulns": [KNOWN]}


@pytest.mark.parametrize("found", [None, {"dependencies": []}, {"dependencies": [SKIPPED]}])
def test_a_registry_that_does_not_answer_is_no_failure(found: dict[str, Any] | None) -> None:
    assert audit.state(found) == (
        0,
        "audit: the registry here has no advisories; nothing was checked.",
    )


def test_what_was_checked_is_counted() -> None:
    code, words = audit.state({"dependencies": [SAFE, SKIPPED]})
    assert (code, words) == (0, "audit: 1 of 2 packages checked, none is known to be at risk.")


def test_a_known_vulnerability_fails_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    code, words = audit.state({"dependencies": [SAFE, AT_RISK]})
    assert code == 1
    assert "jinja2 3.1.0: PYSEC-2026-1, mended in 3.2, 4.0" in words
    assert "Raise the pin in constraints.txt" in words
    monkeypatch.setitem(audit.ACCEPTED, "PYSEC-2026-1", "no template of ours is a stranger's")
    assert audit.state({"dependencies": [AT_RISK]})[0] == 0


def test_what_is_no_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit.importlib.util, "find_spec", str)
    monkeypatch.setattr(audit.sys, "executable", "/bin/false")
    assert audit.asked() is None


def test_a_missing_tool_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="pip-audit is not installed here"):
        audit.asked()
