"""What a study may ask of its LLM judge, and what that may cost: known before anything runs.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hneurons.config import Study
from hneurons.errors import HNeuronsError
from hneurons.judge_config import LLM

# Tokens that a call reads, roughly: the instructions, the question, and the reply that is judged.
_TOKENS_IN = {"correctness": 330, "spans": 220, "falseqa": 480, "jailbreak": 1500, "sycophancy": 700}

_LARGER_SHARE = 0.1

# What agreement asks about, besides correctness: benchmarks that an LLM can judge.
AGREEMENT_TASKS = ("correctness", "falseqa", "jailbreak")


@dataclass(frozen=True)
class Calls:
    """How many calls a task makes at most in the whole study, and their expected price in dollars."""

    task: str
    calls: int
    price: float


def agreement_tasks(study: Study) -> list[str]:
    """What both judges are asked about in this study."""
    if study.judges.agreement is None:
        return []
    return [t for t in AGREEMENT_TASKS if t == "correctness" or t in study.impact.benchmarks]


def expected_calls(study: Study) -> list[Calls]:
    """Calls by task, for all models; those in the cache already are among them. Empty where all judges are rules."""
    llm = study.judges.llm
    if llm is None:
        return []
    questions = {str(name): d.questions for name, d in study.datasets.items()}
    # Training questions are sampled several times. Splits are by gold answer, so their share may turn out somewhat larger.
    trained = math.ceil(questions[study.in_domain] * min(1, study.splits.train + _LARGER_SHARE))
    extra = trained * (study.sampling.samples - 1)
    runs = 1 + len(study.neuron_sets) * len(study.scaled_alphas)
    items = {str(name): b.items * runs for name, b in study.impact.benchmarks.items()}
    asked = {
        "correctness": sum(questions.values()) + extra,
        "spans": sum(questions.values()),
        "falseqa": items.get("falseqa", 0),
        "jailbreak": items.get("jailbreak", 0),
        "sycophancy": 2 * items.get("sycophancy", 0),
    }
    counted = {task: n for task, n in asked.items() if getattr(study.judges, task) == LLM}
    if study.judges.agreement:
        for task in agreement_tasks(study):
            # What the LLM judges anyway is in the cache by then.
            counted.setdefault(task, study.judges.agreement.sample)
    found = []
    for task, n in counted.items():
        calls = n * len(study.models)
        found.append(Calls(task, calls, llm.price(calls, calls * _TOKENS_IN[task])))
    return [c for c in found if c.calls]


def budget_line(study: Study) -> str | None:
    """The expected calls and price in one line, None where all judges are rules.

    Raises HNeuronsError if the study may need more calls than judges.llm.max_judge_calls.
    """
    tasks = expected_calls(study)
    if not tasks or study.judges.llm is None:
        return None
    total, price = sum(t.calls for t in tasks), sum(t.price for t in tasks)
    parts = ", ".join(f"{t.task} {t.calls}" for t in tasks)
    line = f"LLM judge {study.judges.llm.model}: at most {total} calls ({parts}), about ${price:.2f}"
    if total > (most := study.judges.llm.max_judge_calls):
        raise HNeuronsError(f"judges.llm.max_judge_calls is {most}. {line}: raise it, ask for less, or judge with rules")
    return f"{line}; {most} allowed"
