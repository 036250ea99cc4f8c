"""From a store to packed events: shuffled, disjoint over ranks, resumable at any step."""

from pipeline.data.loading.loader import Loader, Reading
from pipeline.data.loading.selection import Selection

__all__ = ["Loader", "Reading", "Selection"]
