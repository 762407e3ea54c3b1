"""Agreement of two judges on the same sample: Cohen's κ and the confusion matrix of their verdicts."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from hneurons import store
from hneurons.impact.benchmarks.benchmark import first_exchanges, read_items
from hneurons.judges.grades import verdict_of_grade
from hneurons.judges.judge import Judge
from hneurons.judges.panel import Judges
from hneurons.judges.states import ERROR, HARMLESS, REFUSED, Judgement
from hneurons.judges.verdicts import answer_to_judge
from hneurons.records import QUESTIONS, REPLIES, RESPONSES
from hneurons.stats import Interval, bootstrap_interval


@dataclass(frozen=True)
class Agreement:
    """Agreement of two judges on the same sample.

    Attributes:
        n: replies that both judges judged; a failed call says nothing about agreement and is counted in judge_errors.
        judge_errors: replies at which either judge failed.
        agree_percent: share of equal verdicts; None if n is 0.
        kappa, kappa_interval: Cohen's κ; None if both judges gave a single verdict throughout.
        labels: the verdicts and states that occur.
        confusion: counts, one row per label of the first judge, one column per label of the second.
        model, task: model that wrote the replies, and the judging task.
        first, second: names of the judges.
    """

    n: int
    judge_errors: int
    agree_percent: float | None
    kappa: float | None
    kappa_interval: Interval | None
    labels: list[str]
    confusion: list[list[int]]
    model: str = ""
    task: str = ""
    first: str = ""
    second: str = ""


def agreement_scores(
    by_first: Sequence[Judgement], by_second: Sequence[Judgement], *, resamples: int, seed: int, **about: str
) -> Agreement:
    """Compare the judgements of two judges.

    Args:
        by_first, by_second: the judgements of each judge, of the same replies in the same order.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.
        about: model, task and names of the judges, for the result.
    """
    pairs = [
        (x.verdict, y.verdict) for x, y in zip(by_first, by_second, strict=True) if ERROR not in (x.verdict, y.verdict)
    ]
    a, b = np.array([x for x, _ in pairs]), np.array([y for _, y in pairs])
    labels = sorted({*a.tolist(), *b.tolist()})

    def kappa(x: np.ndarray, y: np.ndarray) -> float:
        # Undefined if both judges give a single verdict throughout.
        return float(cohen_kappa_score(x, y, labels=labels)) if len({*x, *y}) > 1 else float("nan")

    value = kappa(a, b) if len(a) else float("nan")
    defined = not np.isnan(value)
    return Agreement(
        n=len(a),
        judge_errors=len(by_first) - len(a),
        agree_percent=100 * float((a == b).mean()) if len(a) else None,
        kappa=value if defined else None,
        kappa_interval=bootstrap_interval(kappa, [a, b], resamples=resamples, seed=seed) if defined else None,
        labels=labels,
        confusion=confusion_matrix(a, b, labels=labels).tolist() if len(a) else [],
        **about,
    )


def compare_judges(
    model: str, task: str, inputs: Sequence[Any], judges: Judges, sample: int, *, resamples: int, seed: int
) -> Agreement:
    """Let both judges of a study judge the same random sample of its replies.

    Args:
        model: model that wrote the replies.
        task: correctness, falseqa or jailbreak. If the study's judge of jailbreaks grades them, both judgements are reduced
            to harmful or harmless.
        inputs: what can be sampled, from read_agreement_inputs.
        judges: the judges of the study.
        sample: maximum sample size.
        resamples: number of bootstrap resamples.
        seed: seed of the sample and of the bootstrap.
    """
    drawn = random.Random(f"{seed} agreement {task}").sample(list(inputs), min(sample, len(inputs)))
    method: Callable[[Judge], list[Judgement]] = {
        "correctness": lambda judge: judge.correctness(drawn),
        "falseqa": lambda judge: judge.premise(drawn),
        "jailbreak": lambda judge: judge.harm(drawn),
    }[task]
    about = {"model": model, "task": task, "first": judges.rules.name, "second": judges.llm.name}
    by_rules = method(judges.rules)
    if judges.is_graded(task):
        # Grade 0 includes refusals.
        by_rules = [replace(j, verdict=HARMLESS) if j.verdict == REFUSED else j for j in by_rules]
        by_llm = [verdict_of_grade(grade) for grade in judges.harm_grades(drawn)]
        about["second"] = judges.name_for(task)
    else:
        by_llm = method(judges.llm)
    return agreement_scores(by_rules, by_llm, resamples=resamples, seed=seed, **about)


def read_agreement_inputs(task: str, files: Sequence[str]) -> list[Any]:
    """Read the inputs of the judges from files of the workflow.

    Args:
        task: correctness, or the name of a benchmark.
        files: questions and shards of responses (correctness), or a benchmark's items and the untouched model's replies.
    """
    if task == "correctness":
        questions = {row["question_id"]: row for row in store.read_table(files[0], QUESTIONS).to_pylist()}
        responses = [row for path in files[1:] for row in store.read_table(path, RESPONSES).to_pylist()]
        return [answer_to_judge(questions[row["question_id"]], row) for row in responses if row["sample"] == 0]
    facts = {item.item_id: item.facts for item in read_items(files[0])}
    rows = store.read_table(files[1], REPLIES).to_pylist()
    return list(first_exchanges([facts[row["item_id"]] for row in rows], [row["replies"] for row in rows]))
