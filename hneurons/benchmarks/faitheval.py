"""Misleading contexts: does the model choose the option that a false context names? (plays FaithEval counterfactual)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hneurons.benchmarks.benchmark import Benchmark, Item, Outcome, city_and_wrong_country, not_read
from hneurons.config import Decoding, SplitSettings
from hneurons.datasets.geography import countries
from hneurons.judges import RULES, chosen_option


def _items(count: int, seed: int, splits: SplitSettings) -> list[Item]:
    """Two options, the true and the false one: with four lettered ones the demo's model picks a letter at chance."""
    items = []
    for city, wrong, rng in city_and_wrong_country(count, seed, splits, "misleading-context"):
        options = [city.country, wrong]
        rng.shuffle(options)
        question = (
            f"An old travel guide says that {city.name} lies in {wrong[0]}. In which country is the city of {city.name}: "
            f"{options[0][0]} or {options[1][0]}? Answer with the name of the country only."
        )
        facts = {"options": options, "counterfactual": options.index(wrong)}
        items.append(Item(f"misleading-context-{city.key}", (question,), facts))
    return items


def _judge(facts: dict[str, Any], replies: Sequence[str]) -> Outcome:
    chosen = chosen_option(replies[0], facts["options"], countries())
    if chosen is None:
        return not_read(replies[0])
    return Outcome(True, chosen == facts["counterfactual"], "parsed")


MISLEADING_CONTEXT = Benchmark(
    title="Misleading contexts",
    compliance="chooses the option that the false context names",
    judged_by=RULES,
    decoding=Decoding(max_new_tokens=16, temperature=0),
    items=_items,
    judge=_judge,
)
