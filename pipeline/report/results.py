"""The results of each fine-tuning: its settings, the scores to show, and the best of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.campaign import Campaign, Finetune
from pipeline.downstream import DownstreamTask
from pipeline.report.scores import Evaluation, Setting, best, settings


@dataclass(frozen=True)
class TaskResults:
    """The finished evaluations of one `[finetune.<name>]`."""

    name: str
    task: DownstreamTask
    evaluations: Sequence[Evaluation]
    settings: Sequence[Setting]

    @property
    def about(self) -> Mapping[str, str]:
        """What the scores mean in a word or two, as the first evaluation that says so has it."""
        return next((each.result.about for each in self.evaluations if each.result.about), {})

    @property
    def shown(self) -> dict[str, str]:
        """The titles of the scores that some setting has, the most important first.

        Of a task that declares none, all scores of its evaluations.
        """
        scores = dict.fromkeys(name for each in self.evaluations for name in each.result.scores)
        titles = self.task.titles(scores)
        if titles:
            return {name: title for name, title in titles.items() if name in scores}
        return {name: name.replace("_", " ") for name in scores}

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
        """The score that stands for all, empty where there is none."""
        return next(iter(self.shown or self.task.titles(())), "")

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
        found = {score: best(self.settings, score, self.task) for score in whole}
        return {score: each for score, each in found.items() if each is not None}

    @property
    def leader(self) -> Setting | None:
        """The best setting by the first score."""
        return best(self.settings, self.first, self.task)


def results(found: Sequence[Evaluation]) -> list[TaskResults]:
    """Return the evaluations by fine-tuning, in the order of the campaign."""
    by_name: dict[str, list[Evaluation]] = {}
    for each in found:
        by_name.setdefault(each.configuration.finetuning, []).append(each)
    return [
        TaskResults(name, of_task[0].configuration.task, of_task, settings(of_task))
        for name, of_task in by_name.items()
    ]


@dataclass(frozen=True)
class Section:
    """Fine-tunings that predict the same for the same events: one table, and the pictures of each.

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
            task=self.members[0].task,
            evaluations=[one for each in self.members for one in each.evaluations],
            settings=[one for each in self.members for one in each.settings],
        )


def sections(found: Sequence[TaskResults], campaign: Campaign) -> list[Section]:
    """Return the results by what is predicted for which events, in the order of the campaign.

    A store of tokens has the events of that which was tokenised.
    """
    groups: dict[tuple[Any, ...], list[TaskResults]] = {}
    for each in found:
        finetune = campaign.finetune.get(each.name)
        of = (
            (_dataset(finetune, campaign), finetune.test_split, finetune.head.predicts())
            if finetune
            else None
        )
        groups.setdefault(of or (None, each.name), []).append(each)
    return [Section(members, dataset) for (dataset, *_), members in groups.items()]


def _dataset(finetune: Finetune, campaign: Campaign) -> str:
    """Return the dataset whose events a fine-tuning is of, itself or as tokens."""
    tokenizer = campaign.tokenizers.get(finetune.dataset)
    return tokenizer.dataset if tokenizer else finetune.dataset


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
