"""What a study may ask of its LLM judge, and what that may cost: known before anything runs.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from hneurons.config.impact import TEST_QUESTIONS
from hneurons.config.judges import LLM, TASKS
from hneurons.config.setup import Setup
from hneurons.config.study import Study
from hneurons.errors import HNeuronsError

# Tokens that a call reads, roughly: the instructions, the question, and the reply that is judged.
_TOKENS_IN = {"correctness": 330, TEST_QUESTIONS: 330, "spans": 220, "falseqa": 480, "jailbreak": 1500, "sycophancy": 700}

_LARGER_SHARE = 0.1

# What agreement asks about, besides correctness: benchmarks that an LLM can judge.
AGREEMENT_TASKS = ("correctness", "falseqa", "jailbreak")


@dataclass(frozen=True)
class JudgeCalls:
    """How many calls a task makes at most for one model of the study, and their expected price in dollars."""

    model: str
    task: str
    calls: int
    price: float


def agreement_tasks(study: Study) -> list[str]:
    """What both judges are asked about in this study."""
    if study.judges.agreement is None:
        return []
    return [t for t in AGREEMENT_TASKS if t == "correctness" or t in study.impact.benchmarks]


def expected_calls(setup: Setup) -> list[JudgeCalls]:
    """Calls by model and task; those in the cache already are among them. Empty where all judges are rules."""
    llm = setup.study.judges.llm
    if llm is None:
        return []
    found = []
    for model in setup.models:
        for task, calls in _asked(setup, model).items():
            if calls:
                found.append(JudgeCalls(model, task, calls, llm.price(calls, calls * _TOKENS_IN[task])))
    return found


def _asked(setup: Setup, model: str) -> dict[str, int]:
    """Calls of one model by task: of a model's partner its answers to test questions, of the others everything."""
    study = setup.study
    questions = {name: study.dataset(name).questions for name in setup.datasets_of(model)}
    of_llm = {task for task in TASKS if getattr(study.judges, task) == LLM}
    if setup.is_partner(model):
        if study.in_domain in questions:
            test = 1 - study.splits.train - study.splits.selection
            questions[study.in_domain] = math.ceil(questions[study.in_domain] * min(1, test + _LARGER_SHARE))
        return {task: sum(questions.values()) for task in ("correctness", "spans") if task in of_llm}
    # Training questions are sampled several times. Splits are by gold answer, so their share may turn out somewhat larger.
    trained = math.ceil(questions[study.in_domain] * min(1, study.splits.train + _LARGER_SHARE))
    runs = 1 + len(study.neuron_sets) * len(study.scaled_alphas)
    items = {name: b.items * runs for name, b in study.benchmarks.items()}
    suppressed = min(study.probe.suppressed_questions, questions[study.in_domain]) * len(study.probe.C)
    asked = {
        "correctness": sum(questions.values()) + trained * (study.sampling.samples - 1) + suppressed,
        "spans": sum(questions.values()),
        "falseqa": items.get("falseqa", 0),
        "jailbreak": items.get("jailbreak", 0),
        "sycophancy": 2 * items.get("sycophancy", 0),
    }
    counted = {task: n for task, n in asked.items() if task in of_llm}
    if "correctness" in of_llm:
        counted[TEST_QUESTIONS] = items.get(TEST_QUESTIONS, 0)
    if study.judges.agreement:
        for task in agreement_tasks(study):
            # What the LLM judges anyway is in the cache by then.
            counted.setdefault(task, study.judges.agreement.sample)
    return counted


def budget_line(setup: Setup) -> str | None:
    """The expected calls and price in one line, None where all judges are rules.

    Raises HNeuronsError if the study may need more calls than judges.llm.max_judge_calls.
    """
    calls, llm = expected_calls(setup), setup.study.judges.llm
    if not calls or llm is None:
        return None
    by_task: Counter[str] = Counter()
    for c in calls:
        by_task[c.task] += c.calls
    total, price = by_task.total(), sum(c.price for c in calls)
    parts = ", ".join(f"{task} {n}" for task, n in by_task.items())
    line = f"LLM judge {llm.model}: at most {total} calls ({parts}), about ${price:.2f}"
    if total > (most := llm.max_judge_calls):
        raise HNeuronsError(f"judges.llm.max_judge_calls is {most}. {line}: raise it, ask for less, or judge with rules")
    return f"{line}; {most} allowed"
