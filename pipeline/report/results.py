"""The results of each fine-tuning: its settings, the scores to show, and the best of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.campaign import Campaign, Finetune
from pipeline.downstream import HEADS, AnyHead
from pipeline.report.scores import Evaluation, Setting, best, settings

PER_CLASS = "rejection_"


@dataclass(frozen=True)
class TaskResults:
    """The finished evaluations of one `[finetune.<name>]`."""

    name: str
    head: type[AnyHead]
    evaluations: Sequence[Evaluation]
    settings: Sequence[Setting]

    @property
    def task(self) -> str:
        """What the head tells: "tracks", "jets" and so on."""
        return str(self.head.model_fields["task"].default)

    @property
    def about(self) -> Mapping[str, str]:
        """What the scores mean in a word or two, as the first evaluation that says so has it."""
        told = (each.look.get("about") for each in self.evaluations)
        return next((dict(each) for each in told if each), {})

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
    def explained(self) -> dict[str, list[str]]:
        """What scores mean, each meaning once, and the titles of those that mean it."""
        titles: dict[str, list[str]] = {}
        for score, title in self.shown.items():
            if score in self.about:
                titles.setdefault(self.about[score], []).append(title)
        return titles

    @property
    def first(self) -> str:
        """The score that stands for all."""
        return next(iter(self.shown or self.head.SHOWN))

    @property
    def best(self) -> dict[str, Setting]:
        """The best setting by each score shown; none where it cannot be said.

        That is of one setting, and where one has no value: a rejection may be endless.
        """
        if len(self.settings) < 2:
            return {}
        whole = [
            score
            for score in self.shown
            if all(len(each.values(score)) == len(each.evaluations) for each in self.settings)
        ]
        found = {score: best(self.settings, score, self.head) for score in whole}
        return {score: each for score, each in found.items() if each is not None}

    @property
    def leader(self) -> Setting | None:
        """The best setting by the first score."""
        return best(self.settings, self.first, self.head)


def results(found: Sequence[Evaluation]) -> list[TaskResults]:
    """Return the evaluations by fine-tuning, in the order of the campaign."""
    by_name: dict[str, list[Evaluation]] = {}
    for each in found:
        by_name.setdefault(each.configuration.task, []).append(each)
    return [
        TaskResults(name, HEADS[of_task[0].configuration.head], of_task, settings(of_task))
        for name, of_task in by_name.items()
    ]


@dataclass(frozen=True)
class Section:
    """Fine-tunings that tell the same of the same events: one table, and what is of each.

    `dataset` holds the events, None if the campaign no longer says.
    """

    members: Sequence[TaskResults]
    dataset: str | None

    @property
    def whole(self) -> TaskResults:
        """The results of all members as those of one."""
        if len(self.members) == 1:
            return self.members[0]
        return TaskResults(
            name=", ".join(each.name for each in self.members),
            head=self.members[0].head,
            evaluations=[one for each in self.members for one in each.evaluations],
            settings=[one for each in self.members for one in each.settings],
        )


def sections(found: Sequence[TaskResults], campaign: Campaign) -> list[Section]:
    """Return the results by what is told of which events, in the order of the campaign.

    A store of tokens has the events of that which was tokenised.
    """
    groups: dict[tuple[Any, ...], list[TaskResults]] = {}
    for each in found:
        asked = campaign.finetune.get(each.name)
        of = (_dataset(asked, campaign), asked.test_split, asked.head.told()) if asked else None
        groups.setdefault(of or (None, each.name), []).append(each)
    return [Section(members, dataset) for (dataset, *_), members in groups.items()]


def _dataset(asked: Finetune, campaign: Campaign) -> str:
    """Return the dataset whose events a fine-tuning is of, itself or as tokens."""
    tokenizer = campaign.tokenizers.get(asked.dataset)
    return tokenizer.dataset if tokenizer else asked.dataset


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
