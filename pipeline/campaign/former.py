"""What belongs to a name, and in earlier versions to its place in a list: what a run has stays."""

import hashlib
import json
from typing import TypeVar

from pipeline.campaign import stored
from pipeline.campaign.sections import Finetune
from pipeline.campaign.tasks import FeaturesTask, SimulateTask
from pipeline.catalog import INCIDENTAL, Declaration, DeclarationError
from pipeline.families import Model
from pipeline.run import TaskFolder

PLACES = 1000  # an earlier version's seeds: a thousand times the campaign's, and the place
SEED_BYTES = 6
AnyTask = TypeVar("AnyTask", bound=Declaration)


def simulation_seed(seed: int, name: str, folder: TaskFolder) -> int:
    """Return the seed of the simulation `name` in a campaign of `seed`.

    It does not depend on the other simulations. In `folder` it may have been declared with one that
    did, which stays.
    """
    before = _declared(folder, SimulateTask)
    if before is not None and before.seed // PLACES == seed:
        return before.seed
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:SEED_BYTES])


def features_name(name: str, grid: Finetune, model: Model, folder: TaskFolder | None) -> str:
    """Return the name of the features that a fine-tuning reads: `name`, and its changes to `model`.

    So fine-tunings that change the model differently share none. In `folder`, of the bare name,
    an earlier version may have made those with its changes, which stay.
    """
    fields = type(model).model_fields.items()
    decides = {key for key, field in fields if INCIDENTAL not in field.metadata}
    changes = {key: each for key, each in grid.changes.items() if key in decides}
    if not changes:
        return name
    before = _declared(folder, FeaturesTask) if folder is not None else None
    if before is not None and before.model == grid.model_of(model):
        return name
    text = json.dumps(changes, sort_keys=True, default=str)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _declared(folder: TaskFolder, kind: type[AnyTask]) -> AnyTask | None:
    """Return the task in `folder`; None if there is none that can be read: others report that."""
    if not folder.declaration.exists():
        return None
    try:
        return stored.read(folder, kind)
    except DeclarationError:
        return None
