"""A server that takes and gives a model as the Hugging Face hub does, for its own client library.

Only what `hf upload` and `snapshot_download` ask for: https://huggingface.co/docs/hub/api.
"""

import base64
import hashlib
import json
from contextlib import AbstractContextManager

import yaml
from json_server import JsonHandler, JsonServer, serving

COMMIT = "0" * 40
LICENCES = {"other", "mit", "apache-2.0", "bsd-3-clause", "cc-by-4.0"}  # some of the hub's list


class Hub(JsonServer):
    """One repository: its files, and what was wrong with a card that it was sent."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.files: dict[str, bytes] = {}
        self.problems: list[str] = []

    def commit(self, lines: bytes) -> None:
        """Take the files of a commit, a JSON object a line."""
        for operation in map(json.loads, lines.splitlines()):
            if operation["key"] == "file":
                value = operation["value"]
                self.files[value["path"]] = base64.b64decode(value["content"])

    def check(self, card: str) -> list[str]:
        """Return what the hub would refuse in the head of a card."""
        head = yaml.safe_load(card.split("---\n", 2)[1])
        wrong = [] if head.get("license") in LICENCES else [f"license: {head.get('license')}"]
        for name in ("library_name", "tags"):
            wrong += [] if head.get(name) else [f"{name} is missing"]
        return wrong


def hub() -> AbstractContextManager[Hub]:
    """Give a hub on this host that nobody has sent anything yet."""
    return serving(Hub())


def _digest(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


class _Handler(JsonHandler):
    server: Hub

    def do_POST(self) -> None:  # noqa: N802
        body = self.body()
        if self.path.endswith("/create"):
            self.answer({"url": f"{self.server.address}/team/model", "name": "team/model"})
        elif self.path.endswith("/validate-yaml"):
            wrong = self.server.check(json.loads(body)["content"])
            self.server.problems += wrong
            errors = [{"message": each} for each in wrong]
            self.answer({"errors": errors, "warnings": []}, 400 if wrong else 200)
        elif "/preupload/" in self.path:
            files = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in json.loads(body)["files"]
            ]
            self.answer({"files": files})
        elif "/commit/" in self.path:
            self.server.commit(body)
            self.answer(
                {
                    "commitUrl": f"{self.server.address}/team/model/commit/{COMMIT}",
                    "commitOid": COMMIT,
                }
            )
        else:
            self.answer({"error": self.path}, 404)

    def do_GET(self) -> None:  # noqa: N802
        if "/tree/" in self.path:
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": _digest(content)}
                for name, content in self.server.files.items()
            ]
            self.answer(entries)
        elif self.path.startswith("/api/"):
            siblings = [{"rfilename": name} for name in self.server.files]
            self.answer({"id": "team/model", "sha": COMMIT, "siblings": siblings, "private": False})
        else:
            self._file()

    def do_HEAD(self) -> None:  # noqa: N802
        self.do_GET()

    def _file(self) -> None:
        content = self.server.files[self.path.split("/resolve/", 1)[1].split("/", 1)[1]]
        self.send_response(200)
        self.send_header("ETag", f'"{_digest(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)
