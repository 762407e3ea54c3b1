"""Expected calls of the LLM judge and their price, computed before anything runs.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

import math
from collections import Counter
from dataclasses import dataclass

from hneurons.config.behaviours import TEST_QUESTIONS, LLMJudging
from hneurons.config.judges import LLM, LLM_GRADED, LLM_KINDS, TASKS
from hneurons.config.setup import Setup
from hneurons.config.study import Study
from hneurons.errors import HNeuronsError

# Approximate prompt tokens of a call: the instructions, the question, and the reply to judge.
_TOKENS_IN = {"correctness": 330, TEST_QUESTIONS: 330, "spans": 220, "falseqa": 480, "jailbreak": 1500, "sycophancy": 700}
# The prompt of the graded judge has no examples.
_TOKENS_IN_GRADED = 750
# Of a behaviour of the user's own, without the user's instructions.
_TOKENS_IN_OWN = 350

# Splits are by gold answer, so a split's share of the questions may turn out larger than its share of the answers.
_LARGER_SHARE = 0.1

# Tasks whose agreement can be measured: correctness, and the benchmarks that an LLM can judge.
AGREEMENT_TASKS = ("correctness", "falseqa", "jailbreak")


@dataclass(frozen=True)
class JudgeCalls:
    """Calls of one task for one model.

    Attributes:
        model: the model.
        task: the judging task.
        calls: maximum number of calls.
        price: expected price in dollars.
    """

    model: str
    task: str
    calls: int
    price: float


def agreement_tasks(study: Study) -> list[str]:
    """Return the tasks that both judges of a study judge."""
    if study.judges.agreement is None:
        return []
    return [t for t in AGREEMENT_TASKS if t == "correctness" or t in study.impact.benchmarks]


def expected_calls(setup: Setup) -> list[JudgeCalls]:
    """Return the calls by model and task, including those that are already in the cache.

    Returns:
        One entry per model and task with calls; empty if only rules judge.
    """
    if (llm := setup.study.judges.llm) is None:
        return []
    tokens_in = dict(_TOKENS_IN)
    if setup.study.judges.jailbreak == LLM_GRADED:
        tokens_in["jailbreak"] = _TOKENS_IN_GRADED
    tokens_in |= {name: _TOKENS_IN_OWN + len(prompt) // 4 for name, prompt in _own_prompts(setup.study).items()}
    return [
        JudgeCalls(model, task, calls, llm.price(calls, calls * tokens_in[task]))
        for model in setup.models
        for task, calls in _calls_by_task(setup, model).items()
        if calls
    ]


def _calls_by_task(setup: Setup, model: str) -> dict[str, int]:
    """Calls for one model by task. Of a partner, only answers to test questions are judged."""
    study = setup.study
    questions = {name: study.dataset(name).questions for name in setup.datasets_of(model)}
    of_llm = {task for task in TASKS if getattr(study.judges, task) in LLM_KINDS}
    if setup.is_partner(model):
        test = 1 - study.splits.train - study.splits.selection
        for name in set(study.in_domain_sets) & set(questions):
            questions[name] = math.ceil(questions[name] * min(1, test + _LARGER_SHARE))
        spans = sum(questions.values()) if "spans" in of_llm else 0
        return {"correctness": sum(n for name, n in questions.items() if study.judge_of(name) == LLM), "spans": spans}
    # Training questions are sampled several times.
    share = min(1, study.splits.train + _LARGER_SHARE)
    trained = {name: math.ceil(questions[name] * share) for name in study.in_domain_sets}
    items = {name: b.items * len(study.runs) for name, b in study.benchmarks.items()}
    suppressed = min(study.probe.suppressed_questions, questions[study.in_domain]) * len(study.probe.C)
    by_llm = [name for name in questions if study.judge_of(name) == LLM]
    of_training = sum(n * (study.sampling.samples - 1) for name, n in trained.items() if name in by_llm)
    of_training += suppressed if study.in_domain in by_llm else 0
    possible = {
        "correctness": sum(questions[name] for name in by_llm) + of_training,
        "spans": sum(questions.values()),
        "falseqa": items.get("falseqa", 0),
        "jailbreak": items.get("jailbreak", 0),
        "sycophancy": 2 * items.get("sycophancy", 0),
    }
    counted = {task: n for task, n in possible.items() if task in of_llm or task == "correctness"}
    if study.in_domain in by_llm:
        counted[TEST_QUESTIONS] = items.get(TEST_QUESTIONS, 0)
    counted |= {name: items[name] for name in _own_prompts(study)}
    if study.judges.agreement:
        for task in agreement_tasks(study):
            # Tasks that the LLM judges anyway are in the cache by then.
            counted[task] = counted.get(task) or study.judges.agreement.sample
    return counted


def _own_prompts(study: Study) -> dict[str, str]:
    """The instructions of the LLM judge for behaviours of the user's own, by name."""
    judged = {name: settings.judge for name, settings in study.impact.benchmarks.items()}
    return {name: judge.prompt for name, judge in judged.items() if isinstance(judge, LLMJudging)}


def budget_line(setup: Setup) -> str | None:
    """Describe the expected calls and their price in one line; None if only rules judge.

    Raises:
        HNeuronsError: if the study may need more calls than judges.llm.max_judge_calls.
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
    if total > (limit := llm.max_judge_calls):
        raise HNeuronsError(f"judges.llm.max_judge_calls is {limit}. {line}: raise it, judge less, or judge with rules")
    return f"{line}; {limit} allowed"
