"""The scores of found tracks, the same for every task that finds some."""

from pipeline.downstream.tracks.score import PREDICTION, score

__all__ = ["PREDICTION", "score"]
