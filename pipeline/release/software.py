"""The software of a run, for its crate: Cosmotron and the packages that it uses."""

import re
from collections.abc import Callable, Mapping
from typing import Any

Entity = Any  # of rocrate, which has no types
About = Callable[..., Entity]


def software(about: About, environment: Mapping[str, Any]) -> Entity:
    """Return us as `environment.json` has it, with the packages that it names.

    A clean commit is named by its Software Heritage identifier, which is the commit's own hash
    (https://www.swhid.org), so that it needs no address.
    """
    packages = dict(environment.get("packages", {}))
    version = packages.pop("cosmotron", None)
    commit = str(environment.get("commit", ""))
    clean = re.fullmatch("[0-9a-f]{40}", commit) is not None
    needed = [
        _package(about, name, str(number))
        for name, number in packages.items()
        if str(number)[:1].isdigit()
    ]
    if "python" in environment:
        needed.append(_python(about, str(environment["python"])))
    facts = {
        "name": "Cosmotron",
        "description": "Pretrains physics foundation models on supercomputers.",
        "softwareVersion": version,
        "identifier": f"git commit {commit}" if commit else None,
        "softwareRequirements": needed,
    }
    facts = {key: value for key, value in facts.items() if value}
    return about(f"swh:1:rev:{commit}" if clean else "#cosmotron", "SoftwareApplication", **facts)


def _package(about: About, name: str, version: str) -> Entity:
    """Return a package, by its page on the index; a build of one's own ("+cpu") has none there."""
    page = f"https://pypi.org/project/{name}/{version.partition('+')[0]}/"
    return about(page, "SoftwareApplication", name=name, softwareVersion=version, url=page)


def _python(about: About, version: str) -> Entity:
    """Return the interpreter, by the page of its release."""
    page = f"https://www.python.org/downloads/release/python-{version.replace('.', '')}/"
    return about(page, "SoftwareApplication", name="Python", softwareVersion=version, url=page)
