"""Labelled pairs of a question or conversation and a response, from a user's file: what `fit` learns from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from hneurons.config.base import parse_settings
from hneurons.data.folding import find_phrase
from hneurons.data.opendomain import text_key
from hneurons.data.reading import Text, raw_rows
from hneurons.data.text_files import open_text, reason_unreadable
from hneurons.detection.requests import DetectionRequest
from hneurons.errors import HNeuronsError

# How files name the two classes; hprobes' and the authors' `judge` says whether the answer is right.
_HALLUCINATED = {"1", "true", "hallucinated", "hallucination"}
_FAITHFUL = {"0", "false", "faithful", "correct"}
# Marks of white space in the tokens of byte-level and of sentencepiece tokenizers.
_SPACES = str.maketrans("Ġ▁Ċ", "  \n")


@dataclass(frozen=True)
class Pair:
    """A labelled response.

    Attributes:
        key: its name, unique in the file.
        request: the question or conversation, the response and, if known, its answer.
        label: 1 hallucinated, 0 faithful.
        group: pairs of a group are never on both sides of a fold; by default those of one question.
        domain: name of its domain; empty without one.
        span: characters [start, end) of the answer in the response; None if they are to be located.
    """

    key: str
    request: DetectionRequest
    label: int
    group: str
    domain: str = ""
    span: tuple[int, int] | None = None


class _Row(DetectionRequest):
    response: Text
    id: str | int | None = None
    label: Any = None
    judge: Any = None
    answer_start: int | None = Field(None, ge=0)
    answer_end: int | None = Field(None, ge=1)
    answer_tokens: list[str] | None = None
    group: str | int | None = None
    domain: str | None = None


def read_pairs(path: str | Path, labels: str | Path | None = None) -> list[Pair]:
    """Read labelled pairs.

    Rows have `question` or `messages`, `response` (or a last message of the assistant), `label`, and optionally `answer`
    (text) or `answer_start` and `answer_end` (characters), `group` and `domain`. The authors' files of answer tokens
    ({id: {question, response, answer_tokens}}) and those of hprobes (with `judge`, "true" for a right answer) are read too.

    Args:
        path: the file, ending in .jsonl, .json, .csv or .parquet.
        labels: a JSON file {"t": [ids of right answers], "f": [ids of wrong ones]} for rows without a label; others than
            these are left out.

    Raises:
        HNeuronsError: naming the row that is wrong.
    """
    path = Path(path)
    label_of = _labels(labels) if labels else None
    return _pairs(_rows(path), label_of)


def make_pairs(rows: Iterable[Mapping[str, Any]]) -> list[Pair]:
    """Check labelled pairs that are in memory: rows as `read_pairs` reads them.

    Raises:
        HNeuronsError: naming the pair that is wrong.
    """
    return _pairs(((f"pair {number}", dict(row)) for number, row in enumerate(rows, 1)), None)


def _labels(path: str | Path) -> dict[str, int]:
    with open_text(path) as file:
        content = json.load(file)
    if not isinstance(content, dict) or set(content) != {"t", "f"}:
        raise HNeuronsError(f"{path}: labels are {{'t': [ids of right answers], 'f': [ids of wrong ones]}}")
    return {**{str(i): 0 for i in content["t"]}, **{str(i): 1 for i in content["f"]}}


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and fields of each row, the authors' files flattened."""
    if path.suffix == ".json":
        try:
            with open_text(path) as file:
                content = json.load(file)
        except (OSError, UnicodeError, ValueError) as error:
            raise HNeuronsError(f"{path}: cannot be read: {reason_unreadable(error)}") from None
        entries = content if isinstance(content, list) else [{key: value} for key, value in content.items()]
        rows: Iterable[tuple[str, Any]] = ((f"entry {number}", entry) for number, entry in enumerate(entries, 1))
    else:
        rows = raw_rows(path)
    for place, fields in rows:
        if not isinstance(fields, dict):
            raise HNeuronsError(f"{path}, {place}: not an object")
        if len(fields) == 1 and isinstance(value := next(iter(fields.values())), dict):
            fields = {"id": next(iter(fields)), **value}
        # Tables have cells without a value.
        yield f"{path}, {place}", {name: value for name, value in fields.items() if value is not None and value != ""}


def _pairs(rows: Iterable[tuple[str, dict[str, Any]]], label_of: Mapping[str, int] | None) -> list[Pair]:
    pairs: dict[str, Pair] = {}
    for place, fields in rows:
        if label_of is not None and str(fields.get("id")) not in label_of:
            continue
        row = parse_settings(_Row, fields, place)
        key = str(row.id) if row.id is not None else text_key(json.dumps([row.asks, row.response]))
        label = label_of[key] if label_of is not None else _label(place, row)
        request = DetectionRequest(**row.model_dump(include=set(DetectionRequest.model_fields), exclude_unset=True))
        pair = Pair(key, request, label, str(row.group or text_key(row.asks)), row.domain or "", _span(place, row))
        if (first := pairs.setdefault(key, pair)) is not pair and first.label != label:
            raise HNeuronsError(f"{place}: the same response as an earlier row ({key}), with another label")
    return list(pairs.values())


def _label(place: str, row: _Row) -> int:
    """1 for hallucinated. `judge` says the opposite: whether the answer is right."""
    if row.label is None and row.judge is not None:
        return 1 - _class_of(place, "judge", row.judge)
    if row.label is None:
        raise HNeuronsError(
            f"{place}: no label (1 hallucinated, 0 faithful); ids of right and wrong answers: --labels FILE"
        )
    return _class_of(place, "label", row.label)


def _class_of(place: str, name: str, value: Any) -> int:
    text = str(value).strip().casefold().removesuffix(".0")
    if text not in _HALLUCINATED | _FAITHFUL:
        raise HNeuronsError(f"{place}: {name} {value!r} is neither 1, true or hallucinated, nor 0, false or faithful")
    return int(text in _HALLUCINATED)


def _span(place: str, row: _Row) -> tuple[int, int] | None:
    """Where the answer is in the response, as the row names it."""
    if row.answer_start is not None and row.answer_end is not None:
        if not row.answer_start < row.answer_end <= len(row.response):
            raise HNeuronsError(f"{place}: answer_start and answer_end are not within the {len(row.response)} characters")
        return row.answer_start, row.answer_end
    named = [row.answer] if row.answer is not None else _spellings(row.answer_tokens or [])
    spans = [span for text in named if (span := find_phrase(row.response, text)) is not None]
    if not spans and row.answer_tokens and (stretch := _stretch(row.response, row.answer_tokens)):
        return stretch
    if named and not spans:
        raise HNeuronsError(f"{place}: answer {named[0]!r} does not occur in the response {row.response!r}")
    return spans[0] if spans else None


def _stretch(response: str, tokens: Sequence[str]) -> tuple[int, int] | None:
    """The shortest stretch from the first token on that holds the tokens in their order; they may leave out words."""
    start, end = None, 0
    for token in tokens:
        places = [response.find(text, end) for text in _spellings([token])]
        if not (starts := [place for place in places if place >= 0]):
            if _spellings([token]):
                return None
            continue
        start, end = (min(starts) if start is None else start), min(starts) + len(_spellings([token])[0])
    return None if start is None else (start, end)


def _spellings(tokens: Sequence[str]) -> list[str]:
    """The text of answer tokens: of a sentencepiece tokenizer, and of one whose characters are bytes."""
    plain = "".join(tokens).translate(_SPACES).strip()
    byte_of = _bytes_of_characters()
    joined = "".join(tokens)
    as_bytes = bytes(byte_of[c] for c in joined).decode("utf-8", "ignore").strip() if set(joined) <= set(byte_of) else ""
    return [text for text in dict.fromkeys((plain, as_bytes)) if text]


@cache
def _bytes_of_characters() -> dict[str, int]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {character: byte for byte, character in bytes_to_unicode().items()}
