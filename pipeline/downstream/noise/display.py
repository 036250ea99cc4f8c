"""Points that are noise, in truth and as predicted."""

from pipeline.drawing.chamber import CAPTION as CHAMBER
from pipeline.drawing.points import draw_classes as draw

CAPTION = CHAMBER + "Blue circles: noise."

__all__ = ["CAPTION", "draw"]
