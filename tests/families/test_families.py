"""Every decoder type of transformers: its numbers are those of the definition, or one line refuses it."""

from __future__ import annotations

import re

import pytest

from hneurons.models.layouts import tested_types
from tests.families.build import TYPES
from tests.families.coverage import outcome
from tests.paths import ROOT

_SECTIONS = {"right": "Right", "refused": "Refused", "not built": "Not built"}


def documented(name):
    """The types in a section of the page."""
    text = (ROOT / "docs/models.md").read_text().split(f"## {_SECTIONS[name]}\n")[1].split("\n## ")[0]
    return set(re.findall(r"`([^`]+)`", text)) & set(TYPES)


@pytest.mark.parametrize("kind", TYPES)
def test_a_type_is_right_or_refused_as_documented(kind):
    row = outcome(kind)
    if row.outcome == "not built":
        pytest.skip(f"not built tiny: {row.detail}")
    assert row.outcome in ("right", "refused"), row.detail
    assert row.outcome == "right" or ("\n" not in row.detail and 20 < len(row.detail) < 400)
    assert kind in documented(row.outcome), "docs/models.md is out of date: make test-families"


def test_the_plan_names_types_by_the_page():
    assert tested_types() == documented("right")


def test_the_page_names_every_type_once():
    sections = [documented(name) for name in _SECTIONS]
    assert sorted(kind for section in sections for kind in section) == TYPES
