"""The scores of found tracks, the same for every task that finds some."""

from pipeline.downstream.tracks.score import PREDICTION, reduced, score, score_reduced

__all__ = ["PREDICTION", "reduced", "score", "score_reduced"]
