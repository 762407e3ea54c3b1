"""A local model hub that answers as the real one: repositories, gates, revisions, files."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

REVISION = "a" * 40
TOKEN = "hf_planted_in_the_tests"


@dataclass
class Repository:
    """folder: its files. gated: only TOKEN may read them. claimed: a size that is told for its largest file."""

    folder: Path
    gated: bool = False
    licence: str = "llama3.1"
    claimed: int | None = None


class HubServer:
    """`repositories` by id; `requests` that came."""

    def __init__(self, repositories: dict[str, Repository]) -> None:
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                path = urlparse(self.path).path.strip("/")
                hub.requests.append(f"{self.command} {path}")
                status, headers, content = hub.reply(path, self.headers.get("Authorization", ""), repositories)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if body:
                    self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(
        self, path: str, authorization: str, repositories: dict[str, Repository]
    ) -> tuple[int, dict[str, str], bytes]:
        parts = path.removeprefix("api/models/").removeprefix("datasets/").split("/")
        name, rest = "/".join(parts[:2]), parts[2:]
        repository = repositories.get(name)
        if repository is None:
            return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b""
        locked = repository.gated and authorization != f"Bearer {TOKEN}"
        gate = 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this model is restricted"}, b""
        if path.startswith("api/models/"):
            if rest == ["auth-check"]:
                return gate if locked else (200, {}, b"{}")
            if rest[:1] in (["revision"], ["tree"]) and rest[1] not in (REVISION, "main"):
                return 404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"}, b""
            files = sorted(f for f in repository.folder.iterdir() if f.is_file())
            sizes = {f.name: f.stat().st_size for f in files}
            if repository.claimed:
                sizes[max(sizes, key=lambda n: sizes[n])] = repository.claimed
            if rest[:1] == ["tree"]:
                tree = [{"type": "file", "path": n, "size": size, "oid": "0" * 40} for n, size in sizes.items()]
                return 200, {"Content-Type": "application/json"}, json.dumps(tree).encode()
            info = {
                "id": name,
                "sha": REVISION,
                "gated": "manual" if repository.gated else False,
                "cardData": {"license": repository.licence},
                "siblings": [{"rfilename": n, "size": size, "blobId": "0" * 40} for n, size in sizes.items()],
            }
            return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()
        file = repository.folder / "/".join(rest[2:])
        if locked:
            return gate
        if rest[:1] != ["resolve"] or not file.is_file():
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        content = file.read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": REVISION}, content
