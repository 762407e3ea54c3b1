"""Readers give back what was written, or refuse in one line that names the line; nothing else leaves them."""

from __future__ import annotations

import json
import math

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from hneurons.config.base import read_yaml
from hneurons.config.impact import format_alpha, named_alpha
from hneurons.data.reading import PublishedRow, Text, read_rows
from hneurons.data.text_files import parse_json_lines, read_json_lines
from hneurons.detection.requests import parse_requests
from hneurons.errors import HNeuronsError

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])


@given(
    rows=st.lists(st.dictionaries(TEXT, JSON, max_size=3), min_size=1, max_size=4),
    encoding=ENCODINGS,
    end=st.sampled_from(["\n", "\r\n", "\r", "\n\n \n"]),
    escaped=st.booleans(),
)
def test_json_lines_come_back(rows, encoding, end, escaped, tmp_path):
    lines = (json.dumps(row, ensure_ascii=escaped) for row in rows)
    (tmp_path / "rows.jsonl").write_bytes("".join(line + end for line in lines).encode(encoding))
    assert [row for _, row in read_json_lines(tmp_path / "rows.jsonl")] == rows


class _Row(PublishedRow):
    question: Text
    other: str


@given(
    rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4),
    encoding=ENCODINGS,
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_tables_come_back_or_are_refused_for_a_blank(rows, encoding, end, tmp_path):
    cells = [["question", "other"], *rows]
    text = end.join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in cells)
    with open(tmp_path / "rows.csv", "w", encoding=encoding, newline="") as file:
        file.write(text)
    try:
        read = [(row.question, row.other) for row in read_rows(tmp_path / "rows.csv", _Row)]
    except HNeuronsError as error:
        assert "is blank" in str(error) and any(not question.strip() for question, _ in rows)
    else:
        assert read == list(rows)


@given(lines=st.lists(TEXT | JSON.map(json.dumps), max_size=4))
@example(lines=["[{"])
@example(lines=['{"question": "\\ud800"}'])
def test_any_lines_are_requests_or_are_refused_in_one_line(lines):
    try:
        requests = list(parse_requests(lines, "lines"))
    except HNeuronsError as error:
        assert str(error).startswith("lines, line ") and "\n" not in str(error)
    else:
        assert all(request.question.strip() for request in requests)


@given(value=JSON)
def test_json_lists_and_objects_are_never_a_plain_question(value):
    try:
        ((_, row),) = parse_json_lines([json.dumps(value)], "lines", plain="question")
    except HNeuronsError:
        assert isinstance(value, list)
    else:
        assert row == (value if isinstance(value, dict) else {"question": json.dumps(value)})


@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data, tmp_path):
    for name, read in (("a.jsonl", lambda path: list(read_json_lines(path))), ("a.yaml", read_yaml)):
        (tmp_path / name).write_bytes(data)
        try:
            read(tmp_path / name)
        except HNeuronsError as error:
            assert "\n" not in str(error)


@given(settings=st.dictionaries(TEXT, JSON, min_size=1, max_size=3), encoding=ENCODINGS.filter(lambda e: e != "utf-32"))
def test_yaml_comes_back_and_a_repeated_key_is_refused(settings, encoding, tmp_path):
    text = yaml.safe_dump(settings, allow_unicode=True)
    (tmp_path / "a.yaml").write_bytes(text.encode(encoding))
    assert read_yaml(tmp_path / "a.yaml") == yaml.safe_load(text)
    first = json.dumps(next(iter(settings)))
    (tmp_path / "b.json").write_text(f"{{{first}: 1, {first}: 2}}", encoding="utf-8")
    try:
        read_yaml(tmp_path / "b.json")
    except HNeuronsError as error:
        assert "\n" not in str(error)
    else:
        raise AssertionError("a repeated key was read")


@given(alpha=st.floats(0, 1e7), other=st.floats(0, 1e7))
@example(alpha=0.3, other=0.1 + 0.2)
@example(alpha=1234567, other=1234568)
def test_two_alphas_of_one_name_are_one_or_refused(alpha, other):
    try:
        named, other_named = named_alpha(alpha), named_alpha(other)
    except ValueError:
        return
    assert math.isclose(named, alpha, rel_tol=1e-9) and format_alpha(named) == format_alpha(alpha)
    assert (format_alpha(alpha) == format_alpha(other)) == (named == other_named)
