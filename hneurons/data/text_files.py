"""Text files as Windows, spreadsheets and Python write them: Unicode encodings with their marks, and JSON lines."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from hneurons.config.base import unique_keys
from hneurons.errors import HNeuronsError

# The mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_MARK = "\ufeff"
# Lines of a JSON array, or of an object on several lines.
_PART_OF_JSON = re.compile(r'[}\]],?$|\[\s*(?:$|[\[{])|"[^"]*"\s*:\s*(?:["\[{]|-?\d|true\b|false\b|null\b)')


def open_text(path: str | Path, newline: str | None = None) -> TextIO:
    """Open a text file in UTF-8, or in the Unicode encoding that its byte order mark names; the mark is not read.

    Args:
        path: The file.
        newline: As in `open`.

    Raises:
        OSError: If the file cannot be opened.
    """
    with open(path, "rb") as file:
        start = file.read(4)
    encoding = next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8-sig")
    return open(path, encoding=encoding, newline=newline)


def reason_unreadable(error: Exception) -> str:
    """Describe in one line why a text file cannot be read."""
    if isinstance(error, UnicodeDecodeError):
        position = f"byte {error.start} is not valid {error.encoding}"
        return f"{position}; save the file as UTF-8"
    return " ".join(str(error).split())[:200]


def read_json_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of each non-blank line of a file.

    A bare NaN, which is not JSON but which pandas writes, becomes null.

    Raises:
        HNeuronsError: naming the line that is not a JSON object, or the file if it cannot be read.
    """
    try:
        with open_text(path) as file:
            yield from parse_json_lines(file, str(path))
    except (OSError, UnicodeError) as error:
        raise HNeuronsError(f"{path}: cannot be read: {reason_unreadable(error)}") from None


def parse_json_lines(lines: Iterable[str], name: str, plain: str | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Parse lines as read_json_lines does.

    Args:
        lines: the lines.
        name: name of their source, for errors.
        plain: if given, a line that is not JSON becomes the value of this key. A line of a JSON array, or of an object
            on several lines, is an error.

    Raises:
        HNeuronsError: naming the line that is not a JSON object.
    """
    for number, line in enumerate(lines, 1):
        text = (line.removeprefix(_MARK) if number == 1 else line).strip()
        if not text:
            continue
        if plain is not None and not text.startswith("{") and not _is_json(text):
            yield number, {plain: text}
            continue
        try:
            value = parse_json(text)
        except ValueError as error:
            raise HNeuronsError(f"{name}, line {number}: no valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise HNeuronsError(
                f"{name}, line {number}: no JSON object; write one object per line, without a list around them"
            )
        yield number, value


def _is_json(text: str) -> bool:
    """Whether a line that does not begin with "{" is a JSON list or a part of JSON, and so not a plain text."""
    if _PART_OF_JSON.match(text):
        return True
    try:
        # A question may be in quotation marks, or a number.
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def parse_json(text: str) -> Any:
    """Parse JSON in which every key occurs once and every text can be written as UTF-8; NaN becomes null.

    Raises:
        ValueError: if the text is not such JSON.
    """

    def not_a_number(constant: str) -> None:
        if constant != "NaN":
            raise ValueError(f"{constant} is no JSON number")

    try:
        value = json.loads(text, parse_constant=not_a_number, object_pairs_hook=unique_keys)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair, which is no character") from None
    return value
