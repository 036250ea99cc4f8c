"""EggNet: graph attention on graphs that evolve in the space that it learns (arXiv:2407.13925)."""
