"""An OpenAI-compatible server that does what a test tells it to, faults included: real HTTP, real sockets."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hneurons.config.judges import LLMSettings
from hneurons.judges.client import LLMClient
from hneurons.judges.llm import LLMJudge


def llm_judge(server: JudgeServer, folder: Path, **changes: Any) -> LLMJudge:
    """A judge without a key, with its cache in a folder."""
    options = {"max_judge_calls": 1000, "timeout_s": 5, "retries": 0, "api_key_env": None, "max_errors_percent": 100}
    settings = LLMSettings(**{"model": "judge", "base_url": server.url, **options, **changes})
    return LLMJudge(LLMClient(settings, str(folder / "cache.sqlite"), "study"))


def completion(content: Any, refusal: str | None = None, finish: str = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": refusal, **more}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "judge",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105},
    }


class JudgeServer:
    """Answers each request by `behave(user's text, how often it was asked, system's text)`.

    That is a completion, a fault, or a status with the JSON or text of a response.
    """

    def __init__(self, behave: Callable[..., dict[str, Any] | str | tuple[int, Any]]) -> None:
        self.behave = behave
        self.asked: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text = body["messages"][-1]["content"]
                with server._lock:
                    server.asked[text] += 1
                    count = server.asked[text]
                    server.requests.append({**body, "authorization": self.headers["Authorization"]})
                self.reply(server.answer(body, count))

            def reply(self, said: dict[str, Any] | str | tuple[int, Any]) -> None:
                if isinstance(said, tuple):
                    status, body = said
                    self.send(status, (body if isinstance(body, str) else json.dumps(body)).encode())
                elif said == "hang":
                    time.sleep(5)
                    self.close_connection = True
                elif said == "disconnect":
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b'{"id": "c1", "choices": [')
                    self.wfile.flush()
                    self.close_connection = True
                    self.connection.close()
                elif said == "empty body":
                    self.send(200, b"")
                elif isinstance(said, str):
                    # Some servers repeat the request's headers in their error.
                    code = "content_filter" if "moderated" in said else None
                    error = {"error": {"message": f"{said}; you sent {self.headers['Authorization']}", "code": code}}
                    self.send(int(said[:3]), json.dumps(error).encode())
                else:
                    self.send(200, json.dumps(said).encode())

            def send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if status == 429:
                    self.send_header("Retry-After", "1")
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def answer(self, body: dict[str, Any], count: int) -> dict[str, Any] | str | tuple[int, Any]:
        """The answer to a request: what `behave` says to its messages."""
        messages = body["messages"]
        return self.behave(messages[-1]["content"], count, messages[0]["content"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> JudgeServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
