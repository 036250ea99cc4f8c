"""The reasons for which Slurm lets a job wait: job_reason_codes.html and job_mgr.c of Slurm 26.05.

squeue prints a reason's name, or a text that begins with it ("ReqNodeNotAvail, Reserved for
maintenance"); some commands print underscores for the blanks of a text.
"""

from pipeline.scheduler.reasons import Reason

SHORTER = "A shorter walltime (walltime_minutes) lets it start sooner."
CANCEL = "Cancel it (scancel {id}),"
AGAIN = "then run the same command again."
# Held by hand or by Slurm itself: squeue shows these as states of their own, where it shows them.
HELD_STATES = ("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")

TABLE = (
    # Somebody has to do something.
    Reason("JobHeldUser", "You hold it. Release it: scontrol release {id}", is_stuck=True),
    Reason(
        "JobHeldAdmin",
        "An administrator holds it, and can release it: ask the site's support.",
        is_stuck=True,
    ),
    Reason(
        "launch failed requeued held",
        "Its nodes could not start it. Tell the site's support the nodes (scontrol show job {id}), "
        "and release it: scontrol release {id}",
        is_stuck=True,
    ),
    Reason(
        "REQUEUE_HOLD|job requeued in held state|JobHoldMaxRequeue",
        "It was put back into the queue and is held. Read its log, then release it: "
        "scontrol release {id}",
        is_stuck=True,
    ),
    Reason(
        "SPECIAL_EXIT",
        "It ended with an exit code for which the site holds jobs. Read its log, then release it: "
        "scontrol release {id}",
        is_stuck=True,
    ),
    Reason(
        "RESV_DEL_HOLD|Reservation(Deleted|Invalid)",
        "Its reservation is gone. Release it to run without one: scontrol release {id}",
        is_stuck=True,
    ),
    Reason(
        "DependencyNeverSatisfied",
        f"The job that it waits for did not end as it must. {CANCEL} {AGAIN}",
        is_stuck=True,
    ),
    Reason(
        "InvalidAccount|AccountNotAllowed",
        f"The account may not be charged here any more. {CANCEL} and give another --project.",
        is_stuck=True,
    ),
    Reason(
        "InvalidQOS|QOSNotAllowed",
        f"Your account may not use this queue any more. {CANCEL} and choose another --qos.",
        is_stuck=True,
    ),
    Reason(
        "PartitionTimeLimit|PartitionConfig|BadConstraints"
        "|(Assoc|QOS)Max\\w*(PerJob|PerNode|WallDuration)|QOSMin|MaxMemPerLimit|QOSTimeLimit"
        "|AssociationTimeLimit",
        "The queue never gives what it asks for (nodes, walltime, kind of node). "
        f"{CANCEL} and choose another --qos, or change the campaign or the site file.",
        is_stuck=True,
    ),
    Reason(
        "(Assoc|QOS)Grp\\w*(?<!Run)Minutes|QOSUsageThreshold",
        "The project's hours are used up, or running jobs have reserved the rest. Ask the lead of "
        "the project for more hours, or cancel it (scancel {id}) and charge another --project.",
        is_stuck=True,
    ),
    Reason(
        "BurstBufferOperation|DeadLine|JobLaunchFailure|NonZeroExitCode",
        f"It cannot start any more. {CANCEL} {AGAIN}",
        is_stuck=True,
    ),
    # It starts by itself.
    Reason("Priority", f"Nothing: other jobs are ahead of it. {SHORTER}"),
    Reason("Resources", f"Nothing: it is next, and its nodes are not free yet. {SHORTER}"),
    Reason("Dependency", "Nothing: it starts when the link before it has ended."),
    Reason("BeginTime", "Nothing: Slurm lets it start a little later, as after a requeue."),
    Reason(
        "ReqNodeNotAvail, Reserved for maintenance",
        f"Nothing: it would run into a maintenance, and starts afterwards. {SHORTER}",
    ),
    Reason(
        "ReqNodeNotAvail|NodeDown|PartitionNodeLimit|Constraints",
        "Nodes that it needs are down or reserved (sinfo -R says why). It starts when they "
        "are back.",
    ),
    Reason(
        "PartitionDown|PartitionInactive",
        "The queue is closed; see the site's status page. It starts when the queue opens.",
    ),
    Reason(
        "QOSMax\\w*PerUser|AssocMaxJobsLimit|Max\\w*PerAccount|AssociationJobLimit|QOSJobLimit",
        "Nothing: you run as many jobs or nodes as you may at a time. It starts when one ends.",
    ),
    Reason(
        "(Assoc|QOS)Grp|Association|QOSResourceLimit|AccountingPolicy|Max\\w*RunMins",
        "Nothing: the jobs of the project or the queue reach a limit together. It starts when some "
        "of them end.",
    ),
    Reason("Licenses", "It waits for a licence, often a file system's: scontrol show licenses"),
    Reason("Reservation", "Nothing: its reservation has not begun, or is full."),
    Reason("Cleaning|Prolog|BurstBuffer|SchedDefer|None", "Nothing: Slurm is at work on it."),
)
SUSPENDED = (
    Reason(
        "",
        "It is stopped where it is, and its time does not run. Slurm resumes it when the jobs for "
        "which it made room have ended, and an administrator can: scontrol resume {id}",
    ),
)
