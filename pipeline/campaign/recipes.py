"""Published recipes in a campaign file: `recipe = "published"` becomes the keys of a training."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.campaign.tasks import CHAINED, FinetuneTask, Task
from pipeline.families import FAMILIES, TOKENIZERS
from pipeline.families.recipe import Departure, Recipe

if TYPE_CHECKING:
    from pipeline.campaign.training import Training

KNOWN = FAMILIES | TOKENIZERS
PUBLISHED = "published"
Table = dict[str, Any]


def resolved(file: Any) -> Any:
    """Return the content of a campaign file in which every training has all keys of its recipe.

    Keys that stand in the file stay as they are. What is no table is left to the validation.

    Raises:
        ValueError: A recipe is asked for that its model does not have, or that models of one
            section do not share.
    """
    if not isinstance(file, dict):
        return file
    changed = dict(file)
    if "pretrain" in file:
        changed["pretrain"] = _pretrain(file["pretrain"], _table(file, "models"))
    models, pretrained = _table(file, "models"), _table(file, "pretrain").get("models", ())
    changed |= _each(file, "finetune", lambda grid: _finetune(grid, models, pretrained))
    return changed | _each(file, "tokenizers", _tokenize)


@dataclass(frozen=True)
class Compared:
    """A kind of training beside its published recipe: `stage` and, if it has one, its `task`."""

    stage: str
    task: str
    family: str
    recipe: Recipe
    departures: tuple[Departure, ...]

    def __str__(self) -> str:
        """Return the comparison on one line."""
        kind = " ".join(part for part in (self.stage, self.task, self.family) if part)
        others = "; ".join(map(str, self.departures))
        return f"{kind}: {others or 'as published'}"


def compared(tasks: Iterable[Task]) -> list[Compared]:
    """Return the trainings whose published recipe is known, one of each kind beside it.

    That is the longest, where they differ in length.
    """
    longest: dict[tuple[str, str, str], tuple[Recipe, Training]] = {}
    for each in tasks:
        if not isinstance(each, CHAINED):
            continue
        task = each.head.task if isinstance(each, FinetuneTask) else ""
        recipe = each.model.recipe(task or each.stage, each.model.size)
        kind = (each.stage, task, each.model.family)
        if recipe is None:
            continue
        if kind not in longest or each.training.events_seen > longest[kind][1].events_seen:
            longest[kind] = (recipe, each.training)
    return [
        Compared(*kind, recipe, tuple(recipe.departures(training.model_dump())))
        for kind, (recipe, training) in longest.items()
    ]


def _table(file: Mapping[str, Any], key: str) -> Table:
    """Return the table `key`, empty where there is none, or something else in its place."""
    found = file.get(key)
    return found if isinstance(found, dict) else {}


def _names(given: Any) -> tuple[str, ...]:
    """Return the names in a list of a file, none where it is something else."""
    return tuple(map(str, given)) if isinstance(given, list | tuple) else ()


def _each(file: Table, key: str, resolve: Callable[[Table], Table]) -> Table:
    """Return the section `key`, if there is one, with each of its tables resolved."""
    if not isinstance(file.get(key), dict):
        return {}
    return {
        key: {
            name: _at(f"{key}.{name}", resolve, each) if isinstance(each, dict) else each
            for name, each in file[key].items()
        }
    }


def _at(where: str, resolve: Callable[[Table], Table], table: Table) -> Table:
    """Return the table resolved; an error names it."""
    try:
        return resolve(table)
    except ValueError as error:
        message = f"{where}.training.recipe: {error}"
        raise ValueError(message) from error


def _wanted(training: Table) -> tuple[bool, Table]:
    """Return whether a training asks for the published recipe, and its keys without that one.

    Raises:
        ValueError: It asks for another.
    """
    recipe = training.get("recipe", "")
    if recipe not in ("", PUBLISHED):
        message = f'{recipe!r} is no recipe: write "{PUBLISHED}", or leave it out'
        raise ValueError(message)
    return bool(recipe), {key: value for key, value in training.items() if key != "recipe"}


def _recipe(name: str, model: Any, stage: str) -> Recipe | None:
    """Return the recipe of the model `name` as the file declares it.

    None where the file declares no such model, which the validation will say.

    Raises:
        ValueError: The family has none.
    """
    declared = model if isinstance(model, dict) else {}
    family, size = (str(declared.get(key, "")) for key in ("family", "size"))
    if family not in KNOWN:
        return None
    found = KNOWN[family].recipe(stage, size)
    if found is None:
        with_one = ", ".join(each for each, kind in KNOWN.items() if kind.recipe(stage))
        message = (
            f"{name} ({family}) has no published recipe of this stage, {stage}; "
            f"there are those of: {with_one or 'none'}"
        )
        raise ValueError(message)
    return found


def _pretrain(section: Any, models: Table) -> Any:
    """Return the section with the recipe of each model among the changes of that model."""
    if not isinstance(section, dict) or not isinstance(section.get("training"), dict):
        return section
    return _at("pretrain", lambda table: _by_model(table, models), section)


def _by_model(section: Table, models: Table) -> Table:
    common, keys = _wanted(section["training"])
    by_model = dict(_table(section, "by_model"))
    training = keys
    for name in _names(section.get("models")):
        changes = _table(by_model, name)
        own, changed = _wanted(_table(changes, "training"))
        recipe = _recipe(name, models.get(name), "pretrain") if common or own else None
        if recipe is None:
            if "recipe" in _table(changes, "training"):
                by_model[name] = {**changes, "training": changed}
            continue
        given = {**keys, **changed}
        # What a file says for one model comes before what it says for all.
        found = recipe.keys(given) if common else {**keys, **recipe.keys(changed | _length(given))}
        by_model[name] = {**changes, "training": found}
        if common and training is keys:  # the section itself is validated, too
            training = recipe.keys(keys)
    return {**section, "training": training, "by_model": by_model}


def _length(training: Table) -> Table:
    """Return how long a training is, which no recipe says."""
    return {key: training[key] for key in ("events_seen",) if key in training}


def _finetune(section: Table, models: Table, pretrained: Any) -> Table:
    """Return the section with the recipe that all its models share for its task."""
    wanted, keys = _wanted(_table(section, "training"))
    if not wanted:
        return {**section, "training": keys} if "recipe" in _table(section, "training") else section
    names = _names(section.get("models")) or _names(pretrained)
    stage = _table(section, "head").get("task", "tracks")
    recipes = {name: _recipe(name, models.get(name), stage) for name in names}
    found = {name: recipe.keys(keys) for name, recipe in recipes.items() if recipe is not None}
    first = next(iter(found.values()), keys)
    for name, each in found.items():
        if each != first:
            message = f"{names[0]} and {name} have different ones: give each a section of its own"
            raise ValueError(message)
    return {**section, "training": first}


def _tokenize(section: Table) -> Table:
    """Return the section of a tokenizer with its recipe."""
    wanted, keys = _wanted(_table(section, "training"))
    if not wanted:
        return {**section, "training": keys} if "recipe" in _table(section, "training") else section
    recipe = _recipe("model", section.get("model"), "tokenize")
    return {**section, "training": keys if recipe is None else recipe.keys(keys)}
