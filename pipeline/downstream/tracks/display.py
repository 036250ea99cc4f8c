"""True tracks beside found ones."""

from pipeline.drawing.tracks import CAPTION, draw, scene

__all__ = ["CAPTION", "draw", "scene"]
