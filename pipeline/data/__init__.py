"""Experiments' readers, preparation, the sharded Zarr store and sample simulation; no torch."""
