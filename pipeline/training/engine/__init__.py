"""DeepSpeed and torch.distributed, in this room alone."""
