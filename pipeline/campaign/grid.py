"""The grid of tasks that a campaign resolves into."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pipeline import catalog
from pipeline.campaign import branching, former, model_folder, stored
from pipeline.campaign.declaration import CampaignFile
from pipeline.campaign.identity import known
from pipeline.campaign.sections import Dataset, Finetune, Mode, Pretrain
from pipeline.campaign.sources import sources_of
from pipeline.campaign.tasks import (
    EvaluateTask,
    FeaturesTask,
    FetchTask,
    FinetuneTask,
    PretrainTask,
    ProbeTask,
    SimulateTask,
    StageTask,
    Task,
    TokenizeTask,
    Trunk,
)
from pipeline.catalog import DeclarationError
from pipeline.families import Model
from pipeline.run import Run, TaskFolder

SHELF = "jobs/campaigns"
FROM_SCRATCH: tuple[Mode, ...] = ("scratch", "head")  # modes without pretrained weights
Cell = tuple[int, int]  # labels and seed


@dataclass(frozen=True)
class Parent:
    """A model with weights: `name` stands in the keys of what starts from it, `folder` holds it."""

    name: str
    model: Model
    folder: Path
    needs: tuple[str, ...]


def _check_weights(name: str, model: Model) -> None:
    """Check that the folder from which the model `name` starts holds weights of such a model.

    Raises:
        DeclarationError: There is no such folder, or it is of another model.
    """
    if not model.weights:
        return
    there = model_folder.read(Path(model.weights))
    if there is None:
        message = (
            f"models.{name}: weights: no {model_folder.CONFIG} in {model.weights}. Name a folder "
            "that cosmotron export or cosmotron weights import has written."
        )
        raise DeclarationError(message)
    other, found = model.unlike(there.model, model.MAY_DIFFER), there.model.architecture
    if other:
        fields = ", ".join(f"{key} = {found.get(key)!r}" for key in other)
        message = f"models.{name}: {model.weights} holds weights of another model: {fields}"
        raise DeclarationError(message)


def _sources(
    name: str, dataset: Dataset, folder: TaskFolder, *, elsewhere: bool, optional: bool
) -> dict[str, tuple[str, ...]]:
    """Return the files of a dataset; those that its task in `folder` names where they are gone.

    None at all, if they are `optional`, where the task was never declared.

    Raises:
        DeclarationError: They are not there, and the task was never declared.
    """
    try:
        return sources_of(name, dataset, elsewhere=elsewhere)
    except DeclarationError:
        if folder.declaration.exists():
            return stored.read(folder, StageTask).sources
        if not optional:
            raise
        return dict.fromkeys(dataset.splits, ())


class Campaign(CampaignFile):
    """A campaign, which resolves into tasks: datasets, pretrainings, probes and fine-tunings."""

    def tasks(self, run: Run, *, elsewhere: bool = False, optional: bool = False) -> list[Task]:
        """Return every task of the campaign in `run`, each after the tasks it needs.

        With `elsewhere` the tasks will run on another machine, and missing sources are counted as
        present. So they are where the run knows them from earlier: raw files may be removed once
        they are staged. With `optional` a dataset may have no sources, since another machine of
        the campaign stages it.

        Raises:
            DeclarationError: A source pattern matches no file, or fewer files than declared, and
                the run does not know them; or, of a run that never began, as `check_weights`.
        """
        if not (elsewhere or run.declaration.exists()):
            self.check_weights()
        found: list[Task] = [
            *(self._simulate(run, name) for name in self.simulations),
            *self._fetches(run),
            *(
                self._stage(run, name, elsewhere=elsewhere, optional=optional)
                for name in self._staged()
            ),
            *(
                self._tokenize(run, name)
                for name in sorted(self.tokenizers, key=self._trained_first)
            ),
            *self._pretrains(run),
            *(each for name in self.probe for each in self._probes(run, name)),
            *self._features(run),
            *(each for name in self.finetune for each in self._finetunes(run, name)),
        ]
        return [known(task, run.path) for task in found]

    def check_weights(self) -> None:
        """Check that the folders from which models start hold weights of such models.

        Raises:
            DeclarationError: There is no such folder, or it is of another model.
        """
        for name, model in self.models.items():
            _check_weights(name, model)

    def _staged(self) -> list[str]:
        """Return the datasets that are staged, those that fit bins before those that use them."""
        staged = (name for name, dataset in self.datasets.items() if not dataset.store)
        return sorted(staged, key=self._bins_first)

    def _bins_first(self, name: str) -> bool:
        """Return a key that sorts datasets that fit bins before those that use them."""
        return bool(self.datasets[name].bins_from)

    def _trained_first(self, name: str) -> bool:
        """Return a key that sorts trained tokenizers before those that use their weights."""
        return bool(self.tokenizers[name].like)

    def _simulate(self, run: Run, name: str) -> SimulateTask:
        key = f"simulate/{name}"
        folder = run.task(key)
        return SimulateTask(
            key=key,
            seed=former.simulation_seed(self.seed, name, folder),
            simulation=self.simulations[name],
            output=folder.path / "files",
        )

    def _stage(self, run: Run, name: str, *, elsewhere: bool, optional: bool) -> StageTask:
        dataset = self.datasets[name]
        needs = [*self._makes(dataset.bins_from)] if dataset.bins_from else []
        if dataset.simulation:
            needs.append(f"simulate/{dataset.simulation}")
            simulated = self._simulate(run, dataset.simulation)
            sources: dict[str, tuple[str, ...]] = {}
            for split, path in simulated.files:
                sources[split] = (*sources.get(split, ()), str(path))
        else:
            folder = run.task(f"stage/{name}")
            sources = _sources(name, dataset, folder, elsewhere=elsewhere, optional=optional)
        return StageTask(
            key=f"stage/{name}",
            needs=tuple(needs),
            dataset=dataset,
            sources=sources,
            store=run.store(name),
            bins_store=self.store(run, dataset.bins_from or name),
        )

    def _fetches(self, run: Run) -> Iterator[FetchTask]:
        for name, dataset in self.datasets.items():
            if dataset.address:
                store = run.store(name)
                yield FetchTask(key=f"fetch/{name}", address=dataset.address, store=store)

    def _tokenize(self, run: Run, name: str) -> TokenizeTask:
        tokenize = self.tokenizers[name]
        dataset = self.datasets[tokenize.dataset]
        other = (f"tokenize/{tokenize.like}",) if tokenize.like else ()
        return TokenizeTask(
            key=f"tokenize/{name}",
            needs=(*self._makes(tokenize.dataset), *other),
            seed=tokenize.seed,
            model=self.tokenizer(name),
            jets=self.store(run, tokenize.dataset),
            split=tokenize.split,
            events=tokenize.events,
            store=run.store(name),
            chunk_points=dataset.chunk_points,
            codec=dataset.codec,
            training=tokenize.training,
            trained=run.task(other[0]).path if other else None,
        )

    def _makes(self, name: str) -> tuple[str, ...]:
        """Return the key of the task that makes the store of this name, if one does."""
        if name in self.tokenizers:
            return (f"tokenize/{name}",)
        dataset = self.datasets[name]
        if dataset.address:
            return (f"fetch/{name}",)
        return () if dataset.store else (f"stage/{name}",)

    def store(self, run: Run, name: str) -> Path:
        """Return the store of a dataset, tokenizer or features: in `run`, or where it is given."""
        dataset = self.datasets.get(name)
        given = dataset is not None and dataset.store and not dataset.address
        return Path(dataset.store) if dataset is not None and given else run.store(name)

    def _pretrains(self, run: Run, models: tuple[str, ...] = ()) -> list[PretrainTask]:
        grid = self.pretrain
        if grid is None:
            return []
        resolve = self._branches if grid.branch else self._sizes
        return [
            task
            for model in models or grid.models
            for seed in grid.seeds
            for task in resolve(run, grid, model, seed)
        ]

    def _pretrained(self, run: Run, models: tuple[str, ...]) -> list[PretrainTask]:
        """Return the trainings that end with finished models: all but trunks.

        If `models` names any, only those models.
        """
        return [task for task in self._pretrains(run, models) if not task.branch_points]

    def _parents(self, run: Run, models: tuple[str, ...]) -> list[Parent]:
        """Return the models that a probe or a fine-tuning starts from: if named, only `models`.

        Those are the finished pretrainings; of a model that the campaign does not pretrain, the
        weights that it names.
        """
        pretrained = self.pretrain.models if self.pretrain is not None else ()
        parents = []
        for model in models or pretrained:
            if model in pretrained:
                parents += [
                    Parent(
                        name=task.key.removeprefix("pretrain/"),
                        model=task.model,
                        folder=run.task(task.key).path,
                        needs=(task.key,),
                    )
                    for task in self._pretrained(run, (model,))
                ]
            else:
                declared = self.models[model]
                parents.append(Parent(model, declared, Path(declared.weights).absolute(), ()))
        return parents

    def _sizes(self, run: Run, grid: Pretrain, model: str, seed: int) -> Iterator[PretrainTask]:
        """Yield an independent training for each data size."""
        for events in grid.events_of(model):
            yield PretrainTask(
                key=f"pretrain/{model}-d{events}-s{seed}",
                needs=self._makes(grid.dataset_of(model)),
                seed=seed,
                model=self.models[model],
                store=self.store(run, grid.dataset_of(model)),
                split=grid.split,
                events=events,
                training=grid.training_on(model, events),
                validation=grid.validation,
            )

    def _branches(self, run: Run, grid: Pretrain, model: str, seed: int) -> Iterator[PretrainTask]:
        """Yield the trunk, then the decay that branches from it for each data size."""
        longest = grid.training_of(model)
        trainings = [branching.trapezoid(longest, events) for events in grid.events_of(model)]
        points = tuple(branching.branch_point(training) for training in trainings)
        trunk = PretrainTask(
            key=f"pretrain/{model}-trunk-s{seed}",
            needs=self._makes(grid.dataset_of(model)),
            seed=seed,
            model=self.models[model],
            store=self.store(run, grid.dataset_of(model)),
            split=grid.split,
            events=points[-1],
            one_pass=True,
            branch_points=points,
            training=branching.trunk(longest),
            validation=grid.validation,
        )
        yield trunk
        for training, point in zip(trainings, points, strict=True):
            yield PretrainTask(
                key=f"pretrain/{model}-d{training.events_seen}-s{seed}",
                needs=(*trunk.needs, trunk.key),
                seed=seed,
                model=trunk.model,
                store=trunk.store,
                split=trunk.split,
                events=training.events_seen,
                one_pass=True,
                training=training,
                validation=grid.validation,
                trunk=Trunk(folder=run.task(trunk.key).path, events_seen=point),
            )

    def _probes(self, run: Run, name: str) -> Iterator[ProbeTask]:
        grid = self.probe[name]
        for parent in self._parents(run, grid.models):
            yield ProbeTask(
                key=f"probe/{name}-{parent.name}",
                needs=(*parent.needs, *self._makes(grid.dataset)),
                seed=grid.seed,
                pretrained=parent.folder,
                store=self.store(run, grid.dataset),
                split=grid.split,
                events=grid.events,
                threads=grid.threads,
            )

    def _features(self, run: Run) -> Iterator[FeaturesTask]:
        """Yield the features of frozen backbones, each once for all tasks that share it."""
        seen = set()
        for grid in self.finetune.values():
            if not grid.cache or "frozen" not in grid.modes:
                continue
            for parent in self._parents(run, grid.models):
                name = self._features_name(run, grid, parent)
                if name not in seen:
                    seen.add(name)
                    yield FeaturesTask(
                        key=f"features/{name}",
                        needs=(*parent.needs, *self._makes(grid.dataset)),
                        model=grid.model_of(parent.model),
                        backbone=parent.folder,
                        combine=grid.cache,
                        source=self.store(run, grid.dataset),
                        store=run.store(name),
                        threads=grid.training.threads,
                    )

    def _features_name(self, run: Run, grid: Finetune, parent: Parent) -> str:
        """Return the name of the store of features of a dataset, by a pretrained model."""
        name = f"{grid.dataset}-{grid.cache}-{parent.name}"
        others = (each for each in self.finetune.values() if each is not grid)
        is_shared = any((each.dataset, each.cache) == (grid.dataset, grid.cache) for each in others)
        folder = None if is_shared else run.task(f"features/{name}")
        return former.features_name(name, grid, parent.model, folder)

    def _finetunes(self, run: Run, name: str) -> Iterator[FinetuneTask | EvaluateTask]:
        """Yield each cell and its evaluation; cells without pretraining once for each model."""
        grid = self.finetune[name]
        models = grid.models or (self.pretrain.models if self.pretrain is not None else ())
        for model in models:
            parents = self._parents(run, (model,))
            for parent, mode in product(parents, grid.modes):
                if mode in FROM_SCRATCH and parent is not parents[0]:
                    continue
                cell = f"{name}-{model if mode in FROM_SCRATCH else parent.name}-{mode}"
                for labels, seed in product(grid.labels, grid.seeds):
                    key = f"finetune/{cell}-l{labels}-s{seed}"
                    task = self._finetune(run, grid, key, parent, mode, (labels, seed))
                    yield task
                    yield self._evaluate(run, task, grid)

    def _finetune(
        self, run: Run, grid: Finetune, key: str, parent: Parent, mode: Mode, cell: Cell
    ) -> FinetuneTask:
        scratch = mode in FROM_SCRATCH
        model = parent.model.model_copy(update={"weights": ""}) if scratch else parent.model
        cached = mode == "frozen" and grid.cache != ""
        features = self._features_name(run, grid, parent) if cached else ""
        makes = (f"features/{features}",) if cached else self._makes(grid.dataset)
        return FinetuneTask(
            key=key,
            needs=(*makes, *(() if scratch else parent.needs)),
            seed=cell[1],
            mode=mode,
            model=grid.model_of(model),
            head=grid.head,
            lora_rank=grid.lora_rank,
            cached=cached,
            backbone=None if scratch else parent.folder,
            store=self.store(run, features if cached else grid.dataset),
            split=grid.split,
            labels=cell[0],
            subset=0 if grid.same_labels else cell[1],
            training=grid.training_on(cell[0]),
            validation=grid.validation,
        )

    def _evaluate(self, run: Run, task: FinetuneTask, grid: Finetune) -> EvaluateTask:
        return EvaluateTask(
            key=f"evaluate/{task.key.removeprefix('finetune/')}",
            needs=(task.key,),
            seed=task.seed,
            finetuned=run.task(task.key).path,
            store=task.store,
            split=grid.test_split,
            threads=grid.training.threads,
        )


def load_campaign(name: str) -> Campaign:
    """Load the campaign `name`: a declared name or the path of a TOML file."""
    return catalog.load(SHELF, name, Campaign)
