"""What of a training depends on how its batches are divided: said where it is planned and shown."""

from collections.abc import Iterable

from pipeline.campaign.tasks import FinetuneTask, PretrainTask, Task

KEY = "taken_together"  # of the entry in a result


def taken_together(task: Task, processes: int) -> str:
    """Return in a sentence what `task` learns of a part of each batch only, empty if of all.

    Batch norm is over what all `processes` take forward together, so `micro_events` decide; what
    compares the events of a process depends on the processes too.
    """
    if not isinstance(task, PretrainTask | FinetuneTask) or _is_frozen(task):
        return ""
    together, training = task.model.taken_together, task.training
    if together is None:
        return ""
    batch, share = training.batch_events, -(-training.batch_events // processes)
    steps = -(-share // (training.micro_events or share))
    events = -(-(batch if together.in_all else share) // steps)
    if events == batch:
        return ""
    where = "all processes take" if together.in_all else f"each of {processes} process(es) takes"
    return (
        f"{task.model.family}: {together.what} is over {events} of the {batch} events of a batch, "
        f"those that {where} forward at once"
    )


def entry(task: Task, processes: int) -> dict[str, str]:
    """Return the entry of the result of a training on so many processes, if there is one."""
    sentence = taken_together(task, processes)
    return {KEY: sentence} if sentence else {}


def divided(tasks: Iterable[Task]) -> list[str]:
    """Return the sentences on all `tasks` as they are declared, each once."""
    sentences = (
        taken_together(task, task.training.devices)
        for task in tasks
        if isinstance(task, PretrainTask | FinetuneTask)
    )
    return [each for each in dict.fromkeys(sentences) if each]


def _is_frozen(task: PretrainTask | FinetuneTask) -> bool:
    """Return whether the model's own layers are not trained."""
    return isinstance(task, FinetuneTask) and task.mode not in ("full", "scratch")
