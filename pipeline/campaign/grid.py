"""A campaign file as a whole, and the grid of tasks that it resolves into."""

from collections.abc import Iterator
from datetime import date
from itertools import product

from pydantic import NonNegativeInt, PositiveFloat, model_validator

from pipeline import catalog
from pipeline.campaign import branching
from pipeline.campaign.provenance import Provenance
from pipeline.campaign.sections import (
    Dataset,
    Finetune,
    Mode,
    Name,
    Pretrain,
    Probe,
    Simulation,
    Tokenize,
)
from pipeline.campaign.sources import sources_of
from pipeline.campaign.tasks import (
    EvaluateTask,
    FeaturesTask,
    FinetuneTask,
    PretrainTask,
    ProbeTask,
    SimulateTask,
    StageTask,
    Task,
    TokenizeTask,
    Trunk,
)
from pipeline.catalog import Declaration
from pipeline.families import AnyTokenizer, Model
from pipeline.run import Run

SHELF = "jobs/campaigns"
FROM_NOTHING: tuple[Mode, ...] = ("scratch", "head")  # modes that no pretraining decides
Cell = tuple[int, int]  # labels and seed


class Campaign(Declaration):
    """A campaign as declared in `jobs/campaigns/<name>.toml`.

    `cap_node_hours` is what it may cost on a site at most; nothing is submitted beyond it.
    `allocation_ends` is the last day on which there is something to pay it from; forecasts warn.
    """

    name: Name
    description: str = ""
    seed: NonNegativeInt = 1
    cap_node_hours: PositiveFloat | None = None
    allocation_ends: date | None = None
    simulations: dict[Name, Simulation] = {}
    datasets: dict[Name, Dataset]
    tokenizers: dict[Name, Tokenize] = {}
    models: dict[Name, Model] = {}
    pretrain: Pretrain | None = None
    probe: dict[Name, Probe] = {}
    finetune: dict[Name, Finetune] = {}
    provenance: Provenance | None = None

    @model_validator(mode="after")
    def _names_exist(self) -> "Campaign":
        """Check that every name used is declared in the same file."""
        for key, name, known in self._references():
            if name not in known:
                message = f"{key}: {name!r} is none of: {', '.join(known) or '(none declared)'}"
                raise ValueError(message)
        for section in ("probe", "finetune"):
            if getattr(self, section) and self.pretrain is None:
                message = f"{section}: needs a [pretrain] section, whose models it takes"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _stores_differ(self) -> "Campaign":
        """Check that no tokenizer has the name of a dataset: each has a store of its name."""
        for name in self.tokenizers:
            if name in self.datasets:
                message = f"tokenizers.{name}: a dataset has this name; give it another"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _models_fit(self) -> "Campaign":
        """Check that the pretrained models fit what is staged for them, and the heads asked."""
        if self.pretrain is None:
            return self
        for name in self.pretrain.models:
            model, source = self.models[name], self.pretrain.dataset_of(name)
            dataset = self.datasets.get(source)
            staged = dataset.neighbours if dataset is not None else 0
            self._check_codes(name)
            wanted = model.reads().neighbours
            if wanted > staged:
                message = (
                    f"models.{name}: predicts {wanted} next neighbours, and datasets."
                    f"{source} has neighbours = {staged}"
                )
                raise ValueError(message)
            self._check_changes(name)
            self._check_modes(name)
        return self

    def _check_modes(self, model: str) -> None:
        """Check that a model can be fine-tuned in the modes that are asked of it."""
        for name, grid in self.finetune.items():
            for mode in grid.modes if model in (grid.models or (model,)) else ():
                reason = self.models[model].refuses_mode(mode)
                if reason:
                    message = f"finetune.{name}: models.{model}: {reason}"
                    raise ValueError(message)

    def _check_changes(self, model: str) -> None:
        """Check that what fine-tunings change of a model can be changed."""
        for name, grid in self.finetune.items():
            if model in (grid.models or (model,)):
                try:
                    grid.model_of(self.models[model])
                except ValueError as error:
                    message = f"finetune.{name}.changes: models.{model}: {error}"
                    raise ValueError(message) from error

    def _check_codes(self, model: str) -> None:
        """Check that a model of tokens has the vocabulary of the tokenizers it is given."""
        declared = self.models[model]
        before, after = declared.reads().codes, declared.reads_downstream().codes
        whole = [each for each in self.probe.values() if model in (each.models or (model,))]
        tuned = [each for each in self.finetune.values() if model in (each.models or (model,))]
        given = {(each.dataset, before) for each in whole}
        given |= {(each.dataset, after) for each in tuned}
        if self.pretrain is not None:
            given.add((self.pretrain.dataset_of(model), before))
        for name, wanted in sorted(given):
            codes = self.tokenizer(name).codes if name in self.tokenizers else 0
            if wanted and name not in self.tokenizers:
                message = f"models.{model}: takes tokens, and {name!r} is none of [tokenizers]"
                raise ValueError(message)
            if wanted and codes != wanted:
                message = (
                    f"tokenizers.{name}: has {codes} codes; models.{model} expects {wanted}. "
                    f"Set codes = {codes}, or tokenise with {wanted}."
                )
                raise ValueError(message)

    def _references(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield (key, name used there, names declared) for each name used."""
        yield from self._references_of_stores()
        trainable = (*self.datasets, *self.tokenizers)
        pretrained: tuple[str, ...] = ()
        if self.pretrain is not None:
            pretrained = self.pretrain.models
            yield "pretrain.dataset", self.pretrain.dataset, trainable
            for model, own in self.pretrain.by_model.items():
                if own.dataset:
                    yield f"pretrain.by_model.{model}.dataset", own.dataset, trainable
            for model in pretrained:
                yield "pretrain.models", model, tuple(self.models)
        later: dict[str, Probe | Finetune] = {
            **{f"probe.{name}": each for name, each in self.probe.items()},
            **{f"finetune.{name}": each for name, each in self.finetune.items()},
        }
        for section, grid in later.items():
            yield f"{section}.dataset", grid.dataset, trainable
            for model in grid.models:
                yield f"{section}.models", model, pretrained

    def _references_of_stores(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield those of datasets and tokenizers, each of which makes a store."""
        datasets = tuple(self.datasets)
        fitted = tuple(name for name, dataset in self.datasets.items() if not dataset.bins_from)
        for name, dataset in self.datasets.items():
            if dataset.simulation:
                yield f"datasets.{name}.simulation", dataset.simulation, tuple(self.simulations)
            if dataset.bins_from:
                yield f"datasets.{name}.bins_from", dataset.bins_from, fitted
        for name, tokenizer in self.tokenizers.items():
            yield f"tokenizers.{name}.dataset", tokenizer.dataset, datasets
            if tokenizer.like:
                trained = tuple(n for n, each in self.tokenizers.items() if each.model is not None)
                yield f"tokenizers.{name}.like", tokenizer.like, trained
        for name in self.provenance.cite_as if self.provenance is not None else ():
            yield "provenance.cite_as", name, (*datasets, *self.tokenizers)

    def mean_points(self, store: str) -> float | None:
        """Return the mean points of an event of a store of this name, if it is declared."""
        tokenizer = self.tokenizers.get(store)
        return self.datasets[tokenizer.dataset if tokenizer is not None else store].mean_points

    def tasks(self, run: Run, *, elsewhere: bool = False) -> list[Task]:
        """Return every task of the campaign in `run`, each after the tasks it needs.

        With `elsewhere` they will run on another machine: sources that are not here are counted.

        Raises:
            DeclarationError: A source pattern matches no file, or fewer than there are to be.
        """
        datasets = sorted(self.datasets, key=self._bins_first)
        return [
            *(self._simulate(run, name) for name in self.simulations),
            *(self._stage(run, name, elsewhere=elsewhere) for name in datasets),
            *(self._tokenize(run, name) for name in sorted(self.tokenizers, key=self._own_first)),
            *self._pretrains(run),
            *(each for name in self.probe for each in self._probes(run, name)),
            *self._features(run),
            *(each for name in self.finetune for each in self._finetunes(run, name)),
        ]

    def _bins_first(self, name: str) -> bool:
        """Sort datasets that fit their own bins before those that take another's."""
        return bool(self.datasets[name].bins_from)

    def _own_first(self, name: str) -> bool:
        """Sort tokenizers that are trained before those that take another's weights."""
        return bool(self.tokenizers[name].like)

    def _simulate(self, run: Run, name: str) -> SimulateTask:
        key = f"simulate/{name}"
        seed = self.seed * 1000 + sorted(self.simulations).index(name)
        output = run.task(key).path / "files"
        return SimulateTask(key=key, seed=seed, simulation=self.simulations[name], output=output)

    def _stage(self, run: Run, name: str, *, elsewhere: bool) -> StageTask:
        dataset = self.datasets[name]
        needs = [f"stage/{dataset.bins_from}"] if dataset.bins_from else []
        if dataset.simulation:
            needs.append(f"simulate/{dataset.simulation}")
            simulated = self._simulate(run, dataset.simulation)
            sources: dict[str, tuple[str, ...]] = {}
            for split, path in simulated.files:
                sources[split] = (*sources.get(split, ()), str(path))
        else:
            sources = sources_of(name, dataset, elsewhere=elsewhere)
        return StageTask(
            key=f"stage/{name}",
            needs=tuple(needs),
            dataset=dataset,
            sources=sources,
            store=run.store(name),
            bins_store=run.store(dataset.bins_from or name),
        )

    def _tokenize(self, run: Run, name: str) -> TokenizeTask:
        asked = self.tokenizers[name]
        dataset = self.datasets[asked.dataset]
        other = (f"tokenize/{asked.like}",) if asked.like else ()
        return TokenizeTask(
            key=f"tokenize/{name}",
            needs=(f"stage/{asked.dataset}", *other),
            seed=asked.seed,
            model=self.tokenizer(name),
            jets=run.store(asked.dataset),
            split=asked.split,
            events=asked.events,
            store=run.store(name),
            chunk_points=dataset.chunk_points,
            codec=dataset.codec,
            training=asked.training,
            trained=run.task(other[0]).path if other else None,
        )

    def tokenizer(self, name: str) -> AnyTokenizer:
        """Return the tokenizer that makes the store of tokens of this name."""
        asked = self.tokenizers[name]
        model = asked.model or self.tokenizers[asked.like].model
        assert model is not None, "a declaration was checked"
        return model

    def _makes(self, store: str) -> str:
        """Return the key of the task that makes the store of this name."""
        return f"tokenize/{store}" if store in self.tokenizers else f"stage/{store}"

    def _pretrains(self, run: Run, models: tuple[str, ...] = ()) -> list[PretrainTask]:
        grid = self.pretrain
        if grid is None:
            return []
        several = self._branches if grid.branch else self._sizes
        return [
            task
            for model in models or grid.models
            for seed in grid.seeds
            for task in several(run, grid, model, seed)
        ]

    def _pretrained(self, run: Run, models: tuple[str, ...]) -> list[PretrainTask]:
        """Return the trainings of finished models, of `models` alone if any are named.

        Not trunks, whose rate has not come down.
        """
        return [task for task in self._pretrains(run, models) if not task.branch_points]

    def _sizes(self, run: Run, grid: Pretrain, model: str, seed: int) -> Iterator[PretrainTask]:
        """Yield a training for each data size, each by itself."""
        for events in grid.events_of(model):
            yield PretrainTask(
                key=f"pretrain/{model}-d{events}-s{seed}",
                needs=(self._makes(grid.dataset_of(model)),),
                seed=seed,
                model=self.models[model],
                store=run.store(grid.dataset_of(model)),
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
            needs=(self._makes(grid.dataset_of(model)),),
            seed=seed,
            model=self.models[model],
            store=run.store(grid.dataset_of(model)),
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
        for parent in self._pretrained(run, grid.models):
            yield ProbeTask(
                key=f"probe/{name}-{parent.key.removeprefix('pretrain/')}",
                needs=(parent.key, self._makes(grid.dataset)),
                seed=grid.seed,
                pretrained=run.task(parent.key).path,
                store=run.store(grid.dataset),
                split=grid.split,
                events=grid.events,
                threads=grid.threads,
            )

    def _features(self, run: Run) -> Iterator[FeaturesTask]:
        """Yield what is kept of frozen backbones, once for all heads that share it."""
        seen = set()
        for grid in self.finetune.values():
            if not grid.cache or "frozen" not in grid.modes:
                continue
            for parent in self._pretrained(run, grid.models):
                name = self._feature_store(grid, parent)
                if name not in seen:
                    seen.add(name)
                    yield FeaturesTask(
                        key=f"features/{name}",
                        needs=(parent.key, self._makes(grid.dataset)),
                        model=grid.model_of(parent.model),
                        backbone=run.task(parent.key).path,
                        combine=grid.cache,
                        source=run.store(grid.dataset),
                        store=run.store(name),
                        threads=grid.training.threads,
                    )

    def _feature_store(self, grid: Finetune, parent: PretrainTask) -> str:
        """Return the name of the store of features of a dataset, by a pretrained model."""
        return f"{grid.dataset}-{grid.cache}-{parent.key.removeprefix('pretrain/')}"

    def _finetunes(self, run: Run, name: str) -> Iterator[FinetuneTask | EvaluateTask]:
        """Yield each cell and its evaluation; what begins with nothing once for each model."""
        grid = self.finetune[name]
        models = grid.models or (self.pretrain.models if self.pretrain is not None else ())
        for model in models:
            parents = self._pretrained(run, (model,))
            for parent, mode in product(parents, grid.modes):
                if mode in FROM_NOTHING and parent is not parents[0]:
                    continue
                below = parent.key.removeprefix("pretrain/")
                cell = f"{name}-{model if mode in FROM_NOTHING else below}-{mode}"
                for labels, seed in product(grid.labels, grid.seeds):
                    key = f"finetune/{cell}-l{labels}-s{seed}"
                    task = self._finetune(run, grid, key, parent, mode, (labels, seed))
                    yield task
                    yield self._evaluate(run, task, grid)

    def _finetune(
        self, run: Run, grid: Finetune, key: str, parent: PretrainTask, mode: Mode, cell: Cell
    ) -> FinetuneTask:
        scratch = mode in FROM_NOTHING
        cached = mode == "frozen" and grid.cache != ""
        features = self._feature_store(grid, parent)
        makes = f"features/{features}" if cached else self._makes(grid.dataset)
        return FinetuneTask(
            key=key,
            needs=(makes, *(() if scratch else (parent.key,))),
            seed=cell[1],
            mode=mode,
            model=grid.model_of(parent.model),
            head=grid.head,
            lora_rank=grid.lora_rank,
            cached=cached,
            backbone=None if scratch else run.task(parent.key).path,
            store=run.store(features if cached else grid.dataset),
            split=grid.split,
            labels=cell[0],
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
