"""The fixtures of all rooms that import torch."""

from torch_fixtures import seeded, store, undisturbed

__all__ = ["seeded", "store", "undisturbed"]
