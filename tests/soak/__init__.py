"""Campaigns on the real Slurm of the test bed, with injected faults."""
