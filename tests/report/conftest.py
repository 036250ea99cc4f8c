"""The fixtures of rooms that show what a run holds."""

from report_fixtures import (
    campaign,
    every_task,
    fresh,
    page,
    page_of_a_grid,
    page_of_every_task,
    probed_grid,
    site,
    whole,
)

__all__ = [
    "campaign",
    "every_task",
    "fresh",
    "page",
    "page_of_a_grid",
    "page_of_every_task",
    "probed_grid",
    "site",
    "whole",
]
