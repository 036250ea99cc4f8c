"""A server that takes what W&B's client sends, as far as trainings use it."""

import gzip
import json
from contextlib import AbstractContextManager
from typing import Any

from json_server import JsonHandler, JsonServer, serving


class Server(JsonServer):
    """The runs that it was told of, and the lines of their histories."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: list[dict[str, float]] = []

    def result_of(self, query: str, values: dict[str, Any]) -> dict[str, Any]:
        """Return what a query of GraphQL gets."""
        if "upsertBucket" in query:
            self.runs[values["name"]] = self.runs.get(values["name"], {}) | {
                key: value for key, value in values.items() if value
            }
            return {"upsertBucket": {"inserted": True, "bucket": self._bucket(values["name"])}}
        if "RunResumeStatus" in query:
            known = values["name"] in self.runs
            bucket = self._bucket(values["name"]) if known else None
            return {"model": {"id": "p", "name": "p", "bucket": bucket}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": self.address} for name in values["files"]]
            return {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": files}}
        return {"serverInfo": {"features": []}}

    def _bucket(self, name: str) -> dict[str, Any]:
        last = self.history[-1:]
        return {
            "id": name,
            "name": name,
            "displayName": name,
            "config": "{}",
            "wandbConfig": json.dumps({"t": 1}),
            "summaryMetrics": json.dumps(last[0] if last else {}),
            "historyLineCount": len(self.history),
            "logLineCount": 0,
            "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(line) for line in last]),
            "eventsTail": "[]",
            "project": {
                "id": "p",
                "name": self.runs[name]["project"],
                "entity": {"id": "e", "name": "team"},
            },
        }


def wandb_server() -> AbstractContextManager[Server]:
    """Give a server on this host that nobody has told anything yet."""
    return serving(Server())


class _Handler(JsonHandler):
    server: Server

    def do_POST(self) -> None:  # noqa: N802
        body = self.body()
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        told = json.loads(body)
        if self.path == "/graphql":
            self.answer({"data": self.server.result_of(told["query"], told.get("variables") or {})})
            return
        lines = told.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
        self.server.history += map(json.loads, lines)
        self.answer({"limits": {}})

    def do_PUT(self) -> None:  # noqa: N802
        self.body()
        self.answer({})

    def do_GET(self) -> None:  # noqa: N802
        self.answer({})
