"""Every LLM verdict that was ever paid for, in one SQLite file: nothing is bought twice, whatever crashes."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from hneurons.errors import HNeuronsError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, prompt TEXT NOT NULL, content TEXT NOT NULL, refusal TEXT NOT NULL,
    finish_reason TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS calls (
    study TEXT NOT NULL, key TEXT NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, at REAL NOT NULL
);
"""


@dataclass(frozen=True)
class PaidReply:
    """A reply as the server gave it, and the tokens it was billed for."""

    content: str
    refusal: str
    finish_reason: str
    tokens_in: int = 0
    tokens_out: int = 0


class ReplyCache:
    """Replies by the key of their prompt, model and settings, and how many calls each study made.

    Each reply is committed as it is put. No write-ahead log, which network file systems do not share; one writer at a time.
    Raises HNeuronsError if the file is no such cache.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # A job opens and closes its own connection; a timeout covers another job's last write.
            self._db = sqlite3.connect(self.path, timeout=60)
            self._db.execute("PRAGMA journal_mode=DELETE")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise HNeuronsError(f"judges.cache: {self.path} cannot be used: {error}") from None

    @contextmanager
    def one_writer(self) -> Iterator[None]:
        """Held while calls are made, so that two jobs neither buy the same reply nor overspend a budget together."""
        lock = FileLock(f"{self.path}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print("waiting for another job's calls to the judge", file=sys.stderr)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def get(self, keys: Sequence[str]) -> dict[str, PaidReply]:
        """The replies that are there."""
        found = {}
        for key in keys:
            query = "SELECT content, refusal, finish_reason FROM replies WHERE key = ?"
            if row := self._db.execute(query, (key,)).fetchone():
                found[key] = PaidReply(*row)
        return found

    def put(self, study: str, key: str, model: str, prompt: str, reply: PaidReply) -> None:
        """Keep a reply and count its call: on disk when this returns."""
        with self._db:
            row = (key, model, prompt, reply.content, reply.refusal, reply.finish_reason)
            self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?)", row)
            call = (study, key, reply.tokens_in, reply.tokens_out, time.time())
            self._db.execute("INSERT INTO calls VALUES (?, ?, ?, ?, ?)", call)

    def calls(self, study: str) -> int:
        """How many calls a study has made so far."""
        return self.spent(study)[0]

    def spent(self, study: str) -> tuple[int, int, int]:
        """What a study paid for: calls, tokens read, tokens replied."""
        query = "SELECT count(*), total(tokens_in), total(tokens_out) FROM calls WHERE study = ?"
        calls, tokens_in, tokens_out = self._db.execute(query, (study,)).fetchone()
        return int(calls), int(tokens_in), int(tokens_out)

    def close(self) -> None:
        self._db.close()
