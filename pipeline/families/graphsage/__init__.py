"""GraphSAGE: points look at the mean of their neighbours in space (arXiv:1706.02216)."""
