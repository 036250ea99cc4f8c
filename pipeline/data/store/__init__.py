"""The store: prepared events in shards that are whole or absent, described by a manifest."""

from pipeline.data.store.manifest import BINS, MANIFEST, Manifest, ShardRecord, read_manifest
from pipeline.data.store.opened import Shard, Store

__all__ = ["BINS", "MANIFEST", "Manifest", "Shard", "ShardRecord", "Store", "read_manifest"]
