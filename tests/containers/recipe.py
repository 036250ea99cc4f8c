"""A container recipe followed without a container engine: each stage in a root of its own.

What stands for the base image is this machine: its /usr, read-only, the Python that runs the tests
as /usr/local, a copy of its /etc without its people. So the steps of a Python image on Debian can
be followed, word by word, but for what needs the base image itself: `apt-get install`. Needs root,
as mounting does.

Where `packages` is told, a folder of installed packages, pip finds these and installs the rest.
"""

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template

from dockerfile_parse import DockerfileParser

SCRIPT = """
set -e
root=$1 user=$2 folder=$3
mount -o bind,ro /usr "$root/usr"
mount -o bind,ro "$PYTHON" "$root/usr/local"
for each in /opt/*/; do  # where pip may be told to look on this machine
    [ -e "$root$each" ] || { mkdir "$root$each" && mount -o bind,ro "$each" "$root$each"; }
done
if [ -n "$PACKAGES" ]; then
    mkdir -p "$root/packages"
    mount -o bind,ro "$PACKAGES" "$root/packages"
fi
for each in proc dev sys; do mount --rbind "/$each" "$root/$each"; done
unset PYTHON PACKAGES
exec chroot --userspec="$user" "$root" /bin/sh -c 'cd "$0" && exec /bin/sh -c "$1"' "$folder" "$4"
"""
ENTER = ("unshare", "--mount", "bash", "-c", SCRIPT, "enter")
PASSED_ON = ("PIP_", "SSL_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


@dataclass
class Stage:
    """What one stage has come to: its files below `root`, and how its next step is run."""

    root: Path
    packages: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    folder: str = "/"

    def run(self, command: str) -> str:
        """Run a shell command in the stage and return what it printed."""
        told = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        told["HOME"] = "/root" if self.user == "0:0" else "/"
        if self.packages:
            told["PYTHONPATH"] = "/packages"
        ours = {"PYTHON": sys.base_prefix, "PACKAGES": str(self.packages or "")}
        ended = subprocess.run(
            [*ENTER, str(self.root), self.user, self.folder, command],
            env=told | ours | self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, f"{command}\n{ended.stdout[-4000:]}{ended.stderr[-4000:]}"
        return ended.stdout

    def words(self, value: str) -> list[str]:
        """Split an instruction's value, variables replaced."""
        return [Template(word).safe_substitute(self.environment) for word in shlex.split(value)]

    def path(self, name: str) -> Path:
        """Return where `name`, as the stage sees it, lies on this machine."""
        return self.root / os.path.normpath(f"{self.folder}/{name}" if name[0] != "/" else name)[1:]


def follow(
    recipe: Path, context: Path, root: Path, packages: Path | None = None, **arguments: str
) -> Stage:
    """Follow `recipe` in folders below `root` and return the last stage, which is the image."""
    stages: list[Stage] = []
    names: dict[str, Stage] = {}
    for step in DockerfileParser(str(recipe), env_replace=False).structure:
        instruction, value = step["instruction"], step["value"]
        if instruction == "FROM":
            base, *as_name = value.split(" AS ")
            stages.append(_begin(root / f"stage{len(stages)}", names.get(base), packages))
            names |= dict.fromkeys(as_name, stages[-1])
        elif instruction != "COMMENT":
            _step(stages[-1], instruction, value, context, names, arguments)
    return stages[-1]


def _begin(root: Path, base: Stage | None, packages: Path | None) -> Stage:
    """Begin a stage at another one, or at this machine."""
    if base is not None:
        subprocess.run(["cp", "--archive", "--link", base.root, root], check=True)
        return replace(
            base, root=root, environment=dict(base.environment), labels=dict(base.labels)
        )
    for folder in ("dev", "home", "opt", "proc", "root", "sys", "tmp", "usr", "var/tmp"):
        (root / folder).mkdir(parents=True)
    for open_to_all in ("tmp", "var/tmp"):
        (root / open_to_all).chmod(0o1777)
    for link in ("bin", "lib", "lib64", "sbin"):
        (root / link).symlink_to(f"usr/{link}")
    subprocess.run(["cp", "--archive", "/etc", root / "etc"], check=True)
    for name in ("passwd", "group"):
        _forget_people(root / "etc" / name)
    stage = Stage(root, packages, {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin"})
    stage.run("ldconfig")  # Python's library is in /usr/local/lib now
    return stage


def _forget_people(path: Path) -> None:
    """Leave the system's own users, or groups, in a copy of /etc/passwd or /etc/group."""
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not 1000 <= int(line.split(":")[2]) < 60000]
    path.write_text("\n".join(kept) + "\n")


def _step(
    stage: Stage,
    instruction: str,
    value: str,
    context: Path,
    names: dict[str, Stage],
    arguments: dict[str, str],
) -> None:
    """Do what one instruction says."""
    match instruction:
        case "ARG":
            name, _, default = value.partition("=")
            stage.environment[name] = arguments.get(name, default)
        case "ENV":
            stage.environment |= dict(word.split("=", 1) for word in stage.words(value))
        case "LABEL":
            stage.labels |= dict(word.split("=", 1) for word in stage.words(value))
        case "USER":
            stage.user = f"{value}:{value}"
        case "WORKDIR":
            stage.folder = value
            stage.path(value).mkdir(parents=True, exist_ok=True)
        case "COPY":
            _copy(stage, value, context, names)
        case "RUN":
            stage.run(value)
        case _:
            raise AssertionError(f"{instruction} {value}: not known here")


def _copy(stage: Stage, value: str, context: Path, names: dict[str, Stage]) -> None:
    """Copy from the context, or from another stage, whose files are linked."""
    *sources, target = stage.words(value)
    if sources[0].startswith("--from="):
        other = names[sources[0].removeprefix("--from=")]
        linked = [other.path(sources[1]), stage.path(target)]
        subprocess.run(["cp", "--archive", "--link", "--no-target-directory", *linked], check=True)
        return
    for source in sources:
        path = context / source
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, stage.path(target), ignore=ignored)
        else:
            shutil.copy2(path, stage.path(target) / source)
