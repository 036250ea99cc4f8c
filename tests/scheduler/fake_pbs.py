"""A PBS of one file: qsub, qselect, qstat and qdel as far as we use them, and as strict as ALCF's.

`install` puts them into a folder, where `jobs.json` holds what they know. Words and exit codes are
those of openpbs and of ALCF's user guide; the JSON has the shape that qstat of 2022.1 prints.
"""

import json
import re
import shlex
import sys
from pathlib import Path

SERVER = "polaris-pbs-01"
OPTIONS = "NAqlrjoW"
LIMITS = {"preemptable": (1, 10), "debug": (1, 2), "prod": (10, 496)}  # nodes


def install(folder: Path) -> None:
    """Write the commands into `folder`."""
    for name in ("qsub", "qselect", "qstat", "qdel"):
        path = folder / name
        told = f"exec {shlex.join([sys.executable, __file__, str(folder), name])}"
        path.write_text(f'#!/bin/sh\n{told} "$@"\n')
        path.chmod(0o755)


def change(folder: Path, id_: str, **changes: object) -> None:
    """Let something happen to a job."""
    jobs = known(folder)
    jobs[id_] |= changes
    (folder / "jobs.json").write_text(json.dumps(jobs))


def known(folder: Path) -> dict:
    path = folder / "jobs.json"
    return json.loads(path.read_text()) if path.exists() else {}


def refuse(words: str, code: int = 1) -> None:
    print(words, file=sys.stderr)
    raise SystemExit(code)


def directives(script: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return (options, resources) of the lines before the first that is executed."""
    options, resources = {}, {}
    for line in script.splitlines()[1:]:
        if not line.startswith("#PBS "):
            if line.strip() and not line.startswith("#"):
                break
            continue
        option, _, value = line.removeprefix("#PBS -").partition(" ")
        if option not in OPTIONS:
            refuse(f"qsub: invalid option -- '{option}'", 2)
        if option == "l":
            name, _, asked = value.partition("=")
            resources[name] = asked
        else:
            options[option] = value
    return options, resources


def qsub(folder: Path, path: str) -> None:
    options, resources = directives(Path(path).read_text())
    if "A" not in options:
        refuse("qsub: Account_Name is required to be set.")
    for name in ("select", "walltime", "filesystems"):
        if name not in resources:
            refuse(f"qsub: Resource: {name} is required to be set.")
    chunks = re.fullmatch(r"(\d+):system=polaris", resources["select"])
    if not chunks or not re.fullmatch(r"\d+:[0-5]\d:[0-5]\d", resources["walltime"]):
        refuse("qsub: Illegal attribute or resource value Resource_List", 2)
    if not re.fullmatch(r"[A-Za-z0-9_.+-]{1,230}", options.get("N", "")):
        refuse("qsub: illegal -N value", 2)
    nodes, queue = int(chunks[1]), options.get("q", "prod")
    least, most = LIMITS.get(queue) or refuse("qsub: Unknown queue")
    if not least <= nodes <= most:
        refuse("qsub: Job rejected by all possible destinations")
    jobs = known(folder)
    waits_for = options.get("W", "").removeprefix("depend=afterany:")
    if waits_for and waits_for not in jobs:
        refuse("qsub: Illegal attribute or resource value for depend", 2)
    id_ = f"{len(jobs) + 42}.{SERVER}"
    jobs[id_] = {
        "Job_Name": options["N"],
        "Job_Owner": "alice@polaris-login-01",
        "job_state": "H" if waits_for else "Q",
        "substate": 22 if waits_for else 10,
        "queue": queue,
        "Resource_List": {"nodect": nodes, **resources},
        "comment": "Not Running: Not enough free nodes available",
    }
    (folder / "jobs.json").write_text(json.dumps(jobs))
    print(id_)


def qselect(folder: Path, *options: str) -> None:
    over, (flag, name) = options[:-2], options[-2:]
    assert flag == "-N"
    for id_, job in known(folder).items():
        if job["Job_Name"] == name and ("-x" in over or job["job_state"] != "F"):
            print(id_)


def qstat(folder: Path, *words: str) -> None:
    assert words[:4] == ("-x", "-f", "-F", "json")
    jobs = known(folder)
    found = {id_: jobs[id_] for id_ in words[4:] if id_ in jobs}
    told = {"timestamp": 1795590000, "pbs_version": "2022.1.1", "pbs_server": SERVER}
    print(json.dumps(told | ({"Jobs": found} if found else {})))
    unknown = [id_ for id_ in words[4:] if id_ not in jobs]
    if unknown:
        refuse("\n".join(f"qstat: Unknown Job Id {id_}" for id_ in unknown), 153)


def qdel(folder: Path, *ids: str) -> None:
    for id_ in ids:
        job = known(folder).get(id_)
        if job is None or job["job_state"] == "F":
            refuse(f"qdel: {'Job has finished' if job else 'Unknown Job Id'} {id_}", 139)
        by = f"{job['comment']} and terminated by {job['Job_Owner']}"
        change(folder, id_, job_state="F", substate=91, comment=by)


if __name__ == "__main__":
    globals()[sys.argv[2]](Path(sys.argv[1]), *sys.argv[3:])
