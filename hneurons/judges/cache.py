"""A cache of the paid replies of LLM judges in one SQLite file, so that no crash makes a study pay twice."""

import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from hneurons import store
from hneurons.errors import HNeuronsError

logger = logging.getLogger(__name__)

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
    """A reply as the server returned it.

    Attributes:
        content: The text; empty if the judge refused.
        refusal: The text of the judge's refusal, or the error code of a server that moderates prompts; empty otherwise.
        finish_reason: Why the reply ended, in the words of the API.
        tokens_in: Billed prompt tokens.
        tokens_out: Billed reply tokens.
        note: Why the content is empty, if the response shows it; not cached.
    """

    content: str
    refusal: str
    finish_reason: str
    tokens_in: int = 0
    tokens_out: int = 0
    note: str = ""


class ReplyCache:
    """Stores replies under a key of prompt, model and settings, and counts the calls of each study.

    Each reply is committed when it is added. There is one writer at a time and no write-ahead log, because network file
    systems do not share one.

    Args:
        path: The SQLite file; it and its folder are created if missing.

    Raises:
        HNeuronsError: The file cannot be used as a cache.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Each job opens its own connection; the timeout covers the last write of another job.
            self._db = sqlite3.connect(self.path, timeout=60)
            self._db.execute("PRAGMA journal_mode=DELETE")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise HNeuronsError(f"judges.cache: {self.path} cannot be used: {error}") from None

    @contextmanager
    def one_writer(self) -> Iterator[None]:
        """Lock out other jobs while calls are made: two jobs must not buy the same reply or exceed the budget together."""
        lock = FileLock(f"{self.path}.lock")
        try:
            acquired = lock.acquire(timeout=0)
        except Timeout:
            logger.info("waiting until another job has finished its calls to the judge")
            acquired = lock.acquire()
        with acquired:
            yield

    def get(self, keys: Sequence[str]) -> dict[str, PaidReply]:
        """Return the cached replies among these keys, without their token counts."""
        query = "SELECT content, refusal, finish_reason FROM replies WHERE key = ?"
        rows = {key: self._db.execute(query, (key,)).fetchone() for key in keys}
        return {key: PaidReply(*row) for key, row in rows.items() if row}

    def put(self, study: str, key: str, model: str, prompt: str, reply: PaidReply, keep: bool) -> None:
        """Count a paid call and add its reply; both are on disk when this returns.

        Args:
            study: The study that pays.
            key: Key of the reply (`LLMClient.key`).
            model: The judge model.
            prompt: Text of the prompt.
            reply: The reply.
            keep: Whether to add the reply; one that cannot be used is only counted.
        """
        with store.failures_named(self.path), self._db:
            if keep:
                row = (key, model, prompt, reply.content, reply.refusal, reply.finish_reason)
                self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?)", row)
            call = (study, key, reply.tokens_in, reply.tokens_out, time.time())
            self._db.execute("INSERT INTO calls VALUES (?, ?, ?, ?, ?)", call)

    def spent(self, study: str) -> tuple[int, int, int]:
        """Return what a study has paid for: the numbers of calls, prompt tokens and reply tokens."""
        query = "SELECT count(*), total(tokens_in), total(tokens_out) FROM calls WHERE study = ?"
        calls, tokens_in, tokens_out = self._db.execute(query, (study,)).fetchone()
        return int(calls), int(tokens_in), int(tokens_out)

    def close(self) -> None:
        """Close the connection to the file."""
        self._db.close()
