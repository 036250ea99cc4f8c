"""The forecast of a campaign's final cost and end, kept for the report."""

import dataclasses
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from pipeline.outcome import RunError
from pipeline.run import Run
from pipeline.writing import read_json, write_json

SHARE = 80  # per cent of the outcomes that an interval is to hold


@dataclass(frozen=True)
class Interval:
    """The median outcome, and the bounds that contain `SHARE` per cent of the outcomes."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """The forecast at `now` (seconds since 1970): node-hours in total, and days to the end."""

    site: str
    now: float
    spent_node_hours: float
    node_hours: Interval
    days: Interval


def keep(forecast: Forecast, run: Run) -> None:
    """Write the newest forecast of a campaign to its run folder."""
    write_json(run.forecast, dataclasses.asdict(forecast))


def kept(run: Run) -> Forecast | None:
    """Return the forecast that was kept last, None if none was.

    Raises:
        RunError: There is one, and it cannot be read.
    """
    content = read_json(run.forecast)
    if content is None:
        return None
    try:
        return TypeAdapter(Forecast).validate_python(content)
    except ValidationError as error:
        message = f"{run.forecast}: no forecast. Move it away, and make one: cosmotron forecast."
        raise RunError(message) from error
