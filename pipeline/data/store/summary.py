"""What is in a store, as one value that can be printed."""

from collections import Counter
from typing import Any

from pipeline.data.store.opened import Store


def summary(store: Store) -> dict[str, Any]:
    """Return the counts, arrays, columns, rejects and sources of `store`."""
    manifest = store.manifest
    paths = [path for path in store.path.rglob("*") if path.is_file()]
    return {
        "store": str(store.path),
        "experiment": manifest.experiment,
        "schema": f"{manifest.schema_name}/{manifest.schema_version}",
        "order": manifest.order,
        "neighbours": manifest.neighbours,
        "event_key": manifest.event_key,
        "gigabytes": round(sum(path.stat().st_size for path in paths) / 1e9, 6),
        "files": len(paths),
        "sources": len(manifest.sources),
        "splits": [_split(store, name) for name in store.splits],
        "arrays": _arrays(store),
        "columns": [column.model_dump() for column in manifest.columns],
        "rejected": manifest.rejected,
        "verified": dict(Counter(each.verified_by or "nothing" for each in manifest.sources)),
        "entries": sum(source.entries for source in manifest.sources),
    }


def _split(store: Store, name: str) -> dict[str, Any]:
    events, points = store.events(name), store.points(name)
    return {
        "split": name,
        "shards": len(store.shards(name)),
        "events": events,
        "points": points,
        "points per event": round(points / events, 1) if events else 0,
    }


def _arrays(store: Store) -> list[dict[str, Any]]:
    """Return each array of any split once."""
    rows: dict[str, dict[str, Any]] = {}
    for split in store.splits:
        for name, record in store.shards(split)[0].record.arrays.items():
            row = {
                "array": name,
                "per": record.per,
                "type": record.dtype,
                "columns": record.width or 1,
            }
            rows.setdefault(name, {**row, "splits": ""})
            rows[name]["splits"] = f"{rows[name]['splits']} {split}".strip()
    return list(rows.values())
