"""The true class of each point beside the predicted one."""

from pipeline.drawing.chamber import CAPTION as CHAMBER
from pipeline.drawing.points import draw_classes as draw

CAPTION = CHAMBER + "A colour and a shape for each class."

__all__ = ["CAPTION", "draw"]
