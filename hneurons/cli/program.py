"""The program around the commands: streams that can print any text, and one line where output cannot be written."""

import codecs
import io
import os
import sys
from typing import Any, TextIO

import typer

from hneurons.errors import machine_failure

_ESCAPED = "hneurons-escaped"


class Program(typer.Typer):
    """An application for terminals of any encoding, whose output may go to a full disk or a closed pipe."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the application; exit with status 1 if its output cannot be written, quietly if its reader has gone."""
        _print_anything(sys.stdout)
        _print_anything(sys.stderr)
        if isinstance(sys.stdin, io.TextIOWrapper):
            # Questions are UTF-8, as in files.
            sys.stdin.reconfigure(encoding="utf-8")
        try:
            try:
                return super().__call__(*args, **kwargs)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except OSError as error:
            _discard_output()
            if not isinstance(error, BrokenPipeError):
                sys.stderr.write(f"error: the output cannot be written: {machine_failure(error) or error}\n")
            raise SystemExit(1) from None


def _print_anything(stream: TextIO | None) -> None:
    """Escape what a stream's encoding lacks; output that is JSON remains JSON."""
    codecs.register_error(_ESCAPED, _escape)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=_ESCAPED)


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Escape characters as JSON does: \u and four digits, two of them beyond U+FFFF."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)), error.end


def _discard_output() -> None:
    """Send stdout to nowhere, so that Python does not fail on it again when it exits."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
