"""The true transverse momentum of each point's particle beside the predicted one."""

from pipeline.drawing.chamber import CAPTION as CHAMBER
from pipeline.drawing.points import draw_momenta as draw

CAPTION = CHAMBER + "Grey: points of no particle whose momentum is known."

__all__ = ["CAPTION", "draw"]
