"""Names say what a thing is, and texts are plain English (tests/prose.py has the lists)."""

from __future__ import annotations

from collections import Counter

import pytest

from tests import prose
from tests.paths import ROOT


@pytest.mark.parametrize("path", prose.code_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_name_says_nothing(path):
    assert not [f"line {line}: {name}" for line, name in prose.assigned_names(path) if name in prose.NAMES]


def test_a_name_is_defined_once():
    homes = Counter(name for path in prose.tracked("hneurons/*.py") for name in set(prose.public_names(path)))
    assert not [name for name, count in homes.items() if count > 1]


def test_the_lists_are_long_enough_to_mean_something():
    assert len(prose.NAMES) >= 25 and len(prose.PHRASES) >= 25


def test_texts_are_in_plain_english():
    files = prose.prose_files()
    phrases = Counter(kind for path in files for _, kind, _ in prose.phrases(path))
    words = sum(map(prose.count_words, files))
    assert words > 20_000
    assert phrases.total() <= words / 1000, f"{phrases.total()} in {words} words: {phrases.most_common()}"


def test_the_lists_find_what_they_are_for(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        'def of(found):\n    """This plays TriviaQA."""\n    # A stand-in that stands in for it.\n    one = found\n'
    )
    assert [name for _, name in prose.assigned_names(path)] == ["of", "found", "one"]
    assert [kind for _, kind, _ in prose.phrases(path)] == ["plays"]
