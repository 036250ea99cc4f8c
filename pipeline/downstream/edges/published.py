"""Published numbers of track finding, the same for every task that finds tracks."""

from pipeline.downstream.tracks.published import LITERATURE

__all__ = ["LITERATURE"]
