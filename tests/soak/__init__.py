"""Campaigns on the real Slurm of the test bed, while things go wrong."""
