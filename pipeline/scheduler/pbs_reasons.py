"""The reasons for which PBS lets a job wait: its comment, and who holds it.

The comments are those of openpbs (src/scheduler/job_info.cpp, src/server/req_runjob.c); a hold is
one of the letters in `Hold_Types` (PBS Professional 2022.1 Reference Guide, "Job Attributes").
"""

from typing import Any

from pipeline.scheduler.reasons import Reason

DEPENDS = 22  # substate of a job that waits for another one: openpbs, src/include/job.h
HOLDERS = {"u": "held by the user", "o": "held by an operator", "s": "held by the system"}
SHORTER = "A shorter walltime (walltime_minutes) lets it start sooner."

TABLE = (
    Reason("held by the user", "You hold it. Release it: qrls {id}", is_stuck=True),
    Reason(
        "held by an operator",
        "An operator holds it, and can release it: ask the site's support.",
        is_stuck=True,
    ),
    Reason(
        "held by the system",
        "PBS holds it, as after many failed starts. Ask the site's support to release it, or "
        "cancel it (qdel {id}) and run the same command again.",
        is_stuck=True,
    ),
    Reason(
        "Can Never Run",
        "The queue never gives what it asks for. Cancel it (qdel {id}), and choose another --qos, "
        "or change the campaign or the site file.",
        is_stuck=True,
    ),
    Reason("depends on", "Nothing: it starts when the link before it has ended."),
    Reason("waits for its time", "Nothing: PBS lets it start later."),
    Reason(
        "Not Running: (Job would (cross|not finish before)|.*[Dd]edicated [Tt]ime)",
        f"Nothing: it would run into a maintenance, and starts afterwards. {SHORTER}",
    ),
    Reason(
        "Not Running: .*(limit|share)",
        "Nothing: you, the project or the queue run as many jobs or nodes as they may at a time. "
        "It starts when one ends.",
    ),
    Reason(
        "Not Running: (Not enough total|Queue not)",
        "Nodes are down, or the queue is stopped; see the site's status page. It starts when they "
        "are back.",
    ),
    Reason("Not Running", f"Nothing: nodes are not free yet, or other jobs are ahead. {SHORTER}"),
)
SUSPENDED = (
    Reason(
        "",
        "It is stopped where it is, and its time does not run. PBS resumes it when the jobs for "
        "which it made room have ended.",
    ),
)


def reason_of(job: dict[str, Any]) -> str:
    """Return why a job of qstat's JSON does not run: who holds it, else the scheduler's comment."""
    comment = str(job.get("comment", ""))
    holders = [HOLDERS[each] for each in str(job.get("Hold_Types", "")) if each in HOLDERS]
    if job["job_state"] == "H" and job.get("substate") == DEPENDS:
        return "depends on the end of another job"
    if job["job_state"] == "H" and holders:
        return f"{holders[0]}: {comment}" if comment else holders[0]
    if job["job_state"] == "W" and not comment:
        return "waits for its time"
    return comment
