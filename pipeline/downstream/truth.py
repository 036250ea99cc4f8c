"""The truth of the events that were evaluated, as a score gets it.

It has the points in physical units, the arrays that the downstream task reads per point and per
event, and the tables of the detector.
"""

from pipeline.data.events import Events, Rows

Truth = Events

__all__ = ["Rows", "Truth"]
