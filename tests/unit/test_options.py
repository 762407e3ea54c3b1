"""The option parser on replies read by hand."""

from __future__ import annotations

import pytest

from hneurons.judges.options import parse_option
from tests.paths import FIXTURES, json_lines

ROWS = json_lines(FIXTURES / "options.jsonl")


def test_there_are_a_hundred_replies_of_all_kinds():
    assert len(ROWS) >= 100
    assert {len(row["options"]) for row in ROWS} >= {3, 4, 5}
    assert sum(row["chosen"] is None for row in ROWS) >= 25


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{len(row['options'])}: {row['reply'][:40]}")
def test_the_option_read_is_the_one_meant(row):
    assert parse_option(row["reply"], row["options"]) == row["chosen"]
