from __future__ import annotations

import pytest

from hneurons.generation import engine


@pytest.fixture
def sampled_prompts(monkeypatch):
    """The prompts that were sampled, one after the other."""
    counted = []
    real = engine.generate

    def counting(model, prompts, *arguments, **options):
        counted.extend(prompts)
        return real(model, prompts, *arguments, **options)

    monkeypatch.setattr(engine, "generate", counting)
    return counted
