"""From a store to packed batches: shuffled, disjoint over ranks, resumable at any step."""

from pipeline.data.loading.loader import Loader, Reading, State, joined
from pipeline.data.loading.packed import Packed

__all__ = ["Loader", "Packed", "Reading", "State", "joined"]
