"""The results of each fine-tuning: its settings, the scores to show, and the best of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.heads import HEADS, AnyHead
from pipeline.report.reader import Reader
from pipeline.report.scores import Evaluation, Setting, best, settings
from pipeline.run import Run

PER_CLASS = "rejection_"


@dataclass(frozen=True)
class TaskResults:
    """The finished evaluations of one `[finetune.<name>]`.

    `about` says in a word or two what a score means.
    """

    name: str
    head: type[AnyHead]
    evaluations: Sequence[Evaluation]
    settings: Sequence[Setting]
    about: Mapping[str, str]

    @property
    def shown(self) -> dict[str, str]:
        """The titles of the scores that some setting has, the most telling first.

        Of more than two classes each has a rejection of its own, in place of the two of `SHOWN`.
        """
        told = {name for each in self.evaluations for name in each.result}
        shown = {name: title for name, title in self.head.SHOWN.items() if name in told}
        if any(name.startswith(PER_CLASS) for name in self.head.SHOWN):
            others = (n for each in self.evaluations for n in each.result if n not in shown)
            single = [n for n in others if n.startswith(PER_CLASS) and not n.endswith("_interval")]
            shown |= {name: f"1/εB, {name.removeprefix(PER_CLASS)}" for name in single}
        return shown

    @property
    def first(self) -> str:
        """The score that stands for all."""
        return next(iter(self.shown or self.head.SHOWN))

    @property
    def best(self) -> dict[str, Setting]:
        """The best setting by each score shown; none where there is nothing to compare."""
        if len(self.settings) < 2:
            return {}
        found = {score: best(self.settings, score, self.head) for score in self.shown}
        return {score: each for score, each in found.items() if each is not None}

    @property
    def leader(self) -> Setting | None:
        """The best setting by the first score."""
        return best(self.settings, self.first, self.head)


def results(found: Sequence[Evaluation], run: Run, reader: Reader) -> list[TaskResults]:
    """Return the evaluations by fine-tuning, in the order of the campaign."""
    by_name: dict[str, list[Evaluation]] = {}
    for each in found:
        by_name.setdefault(each.configuration.task, []).append(each)
    return [
        TaskResults(
            name=name,
            head=HEADS[of_task[0].configuration.head],
            evaluations=of_task,
            settings=settings(of_task),
            about=_about(of_task, run, reader),
        )
        for name, of_task in by_name.items()
    ]


def _about(found: Sequence[Evaluation], run: Run, reader: Reader) -> dict[str, str]:
    """Return what the scores mean, as the first evaluation that says so has it."""
    for each in found:
        told = reader.table(run.task(each.key).path / "look.json").get("about")
        if told:
            return dict(told)
    return {}


def chosen(result: TaskResults) -> dict[str, Evaluation]:
    """Return by mode the evaluation whose pictures are shown.

    That is the one of most labels, and of those of most events of pretraining.
    """

    def size(each: Evaluation) -> tuple[int, int]:
        what = each.configuration
        return what.labels or 0, what.pretraining_events or 0

    modes = dict.fromkeys(each.configuration.mode for each in result.evaluations)
    return {
        mode or "mode unknown": max(
            (each for each in result.evaluations if each.configuration.mode == mode), key=size
        )
        for mode in modes
    }
