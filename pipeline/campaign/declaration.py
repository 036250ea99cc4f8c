"""A campaign file as a whole: its sections, and the checks that they fit together."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt, PositiveFloat, model_validator

from pipeline.campaign import recipes
from pipeline.campaign.provenance import Provenance
from pipeline.campaign.sections import (
    Dataset,
    Finetune,
    Name,
    Pretrain,
    Probe,
    Simulation,
    Tokenize,
)
from pipeline.catalog import Declaration
from pipeline.families import AnyTokenizer, Model


class CampaignFile(Declaration):
    """A campaign as declared in `jobs/campaigns/<name>.toml`.

    `cap_node_hours` is the most that it may cost on a site; nothing is submitted beyond it.
    `allocation_ends` is the last day of the allocation that pays for it; forecasts warn.
    `allow_overlap` lets models be tested on events that they were trained on; the page says so.
    """

    name: Name
    description: str = ""
    seed: NonNegativeInt = 1
    cap_node_hours: PositiveFloat | None = None
    allocation_ends: date | None = None
    allow_overlap: bool = False
    simulations: dict[Name, Simulation] = {}
    datasets: dict[Name, Dataset]
    tokenizers: dict[Name, Tokenize] = {}
    models: dict[Name, Model] = {}
    pretrain: Pretrain | None = None
    probe: dict[Name, Probe] = {}
    finetune: dict[Name, Finetune] = {}
    provenance: Provenance | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_recipes(cls, file: Any) -> Any:
        """Put the keys of published recipes into the trainings that ask for them."""
        return recipes.resolved(file)

    @model_validator(mode="after")
    def _names_exist(self) -> "CampaignFile":
        """Check that every name used is declared in the same file."""
        for key, name, declared in self._references():
            if name not in declared:
                names = ", ".join(declared) or "(none declared)"
                message = f"{key}: {name!r} is none of: {names}"
                raise ValueError(message)
        later: dict[str, Mapping[str, Probe | Finetune]] = {}
        later |= {"probe": self.probe, "finetune": self.finetune}
        for section, grids in later.items():
            if self.pretrain is None and not all(grid.models for grid in grids.values()):
                message = (
                    f"{section}: needs a [pretrain] section, whose models it takes, or models that "
                    "name their weights"
                )
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _stores_differ(self) -> "CampaignFile":
        """Check that no tokenizer has the name of a dataset, since each names a store."""
        for name in self.tokenizers:
            if name in self.datasets:
                message = f"tokenizers.{name}: a dataset has this name; give it another"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _models_fit(self) -> "CampaignFile":
        """Check that the pretrained models fit their datasets and their downstream tasks."""
        for name in self.pretrain.models if self.pretrain is not None else ():
            self._check_neighbours(name)
        for name in self._models_with_weights():
            self._check_codes(name)
            self._check_changes(name)
            self._check_modes(name)
        return self

    def _models_with_weights(self) -> tuple[str, ...]:
        """Return the models that are pretrained here, and those that name their weights."""
        pretrained = self.pretrain.models if self.pretrain is not None else ()
        given = [name for name, model in self.models.items() if model.weights]
        return tuple(dict.fromkeys((*pretrained, *given)))

    def _check_neighbours(self, name: str) -> None:
        """Check that the dataset of a pretraining has the neighbours that the model predicts."""
        if self.pretrain is None:
            return
        source = self.pretrain.dataset_of(name)
        dataset = self.datasets.get(source)
        if dataset is not None and dataset.store:
            return  # it says so itself, where it is
        staged = dataset.neighbours if dataset is not None else 0
        wanted = self.models[name].reads().neighbours
        if wanted > staged:
            message = (
                f"models.{name}: predicts {wanted} next neighbours, and datasets."
                f"{source} has neighbours = {staged}"
            )
            raise ValueError(message)

    def _check_modes(self, model: str) -> None:
        """Check that a model can be fine-tuned in each requested mode."""
        for name, grid in self.finetune.items():
            for mode in grid.modes if model in (grid.models or (model,)) else ():
                declared = self.models[model]
                reason = declared.refuses_mode(mode) or grid.head.refuses_mode(mode, declared)
                if reason:
                    message = f"finetune.{name}: models.{model}: {reason}"
                    raise ValueError(message)

    def _check_changes(self, model: str) -> None:
        """Check that fine-tunings change only what can be changed in a model."""
        for name, grid in self.finetune.items():
            if model in (grid.models or (model,)):
                try:
                    grid.model_of(self.models[model])
                except ValueError as error:
                    message = f"finetune.{name}.changes: models.{model}: {error}"
                    raise ValueError(message) from error

    def _check_codes(self, model: str) -> None:
        """Check that a model of tokens has the vocabulary of its tokenizers."""
        for name, wanted in sorted(self._stores_read(model)):
            if not wanted:
                continue
            codes = self.tokenizer(name).codes if name in self.tokenizers else 0
            if name not in self.tokenizers:
                message = f"models.{model}: takes tokens, and {name!r} is none of [tokenizers]"
                raise ValueError(message)
            if codes != wanted:
                message = (
                    f"tokenizers.{name}: has {codes} codes; models.{model} expects {wanted}. "
                    f"Set codes = {codes}, or tokenise with {wanted}."
                )
                raise ValueError(message)

    def _stores_read(self, model: str) -> set[tuple[str, int]]:
        """Return the stores that a model reads, with the number of codes it expects there."""
        declared = self.models[model]
        before, after = declared.reads().codes, declared.reads_downstream().codes
        read: set[tuple[str, int]] = set()
        if self.pretrain is not None and model in self.pretrain.models:
            read.add((self.pretrain.dataset_of(model), before))
        for grids, codes in ((self.probe, before), (self.finetune, after)):
            of_model = (each for each in grids.values() if model in (each.models or (model,)))
            read |= {(each.dataset, codes) for each in of_model}
        return read

    def _references(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield (key, name used there, names declared) for each name used."""
        yield from self._references_of_stores()
        trainable = (*self.datasets, *self.tokenizers)
        pretrained: tuple[str, ...] = ()
        if self.pretrain is not None:
            pretrained = self.pretrain.models
            yield "pretrain.dataset", self.pretrain.dataset, trainable
            for model, changes in self.pretrain.by_model.items():
                if changes.dataset:
                    yield f"pretrain.by_model.{model}.dataset", changes.dataset, trainable
            for model in pretrained:
                yield "pretrain.models", model, tuple(self.models)
        later: dict[str, Probe | Finetune] = {
            **{f"probe.{name}": each for name, each in self.probe.items()},
            **{f"finetune.{name}": each for name, each in self.finetune.items()},
        }
        for section, grid in later.items():
            yield f"{section}.dataset", grid.dataset, trainable
            for model in grid.models:
                yield f"{section}.models", model, self._models_with_weights()

    def _references_of_stores(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield the references of datasets and tokenizers, each of which makes a store."""
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

    def mean_points(self, store: Path) -> float | None:
        """Return the declared mean number of points per event of the store `store`, if any."""
        return self.dataset_of(store)[0].mean_points

    def dataset_of(self, store: Path) -> tuple[Dataset, bool]:
        """Return the dataset whose events the store `store` holds, and whether as tokens."""
        given = (each for each in self.datasets.values() if each.store and not each.address)
        shared = {Path(each.store): each for each in given}
        if store in shared:
            return shared[store], False
        tokenizer = self.tokenizers.get(store.stem)
        name = tokenizer.dataset if tokenizer is not None else store.stem
        return self.datasets[name], tokenizer is not None

    def tokenizer(self, name: str) -> AnyTokenizer:
        """Return the tokenizer that makes the store of tokens of this name."""
        declared = self.tokenizers[name]
        model = declared.model or self.tokenizers[declared.like].model
        assert model is not None, "the section was validated"
        return model
