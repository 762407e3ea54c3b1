"""Agreement of two judges on the same sample: Cohen's κ and the confusion matrix of their verdicts."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hneurons import store
from hneurons.data.gold_answers import answers_that_connect, connected_answers
from hneurons.impact.benchmarks.benchmark import first_exchanges, read_items
from hneurons.judges.grades import verdict_of_grade
from hneurons.judges.judge import Exchange, Judge
from hneurons.judges.panel import Judges
from hneurons.judges.states import ERROR, HARMLESS, REFUSED, Answer, Judgement
from hneurons.judges.verdicts import answer_to_judge
from hneurons.records import QUESTIONS, REPLIES, RESPONSES
from hneurons.stats.estimates import Estimate, Groups, Interval, kappa_estimate


@dataclass(frozen=True)
class Agreement:
    """Agreement of two judges on the same sample.

    Attributes:
        n: replies that both judges judged; a failed call says nothing about agreement and is counted in judge_errors.
        judge_errors: replies at which either judge failed.
        agree_percent: share of equal verdicts; None if n is 0.
        kappa, kappa_interval: Cohen's κ; None if both judges gave a single verdict throughout. No interval with fewer than
            two questions.
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
    by_first: Sequence[Judgement], by_second: Sequence[Judgement], groups: Sequence[str], **about: str
) -> Agreement:
    """Compare the judgements of two judges.

    Args:
        by_first, by_second: the judgements of each judge, of the same replies in the same order.
        groups: what each reply is about; those with the same gold answer or question are not independent.
        about: model, task and names of the judges, for the result.
    """
    # Imported here because tables of other results import this module too.
    from sklearn.metrics import confusion_matrix

    verdicts = [(x.verdict, y.verdict) for x, y in zip(by_first, by_second, strict=True)]
    judged_twice = [i for i, pair in enumerate(verdicts) if ERROR not in pair]
    a, b = (np.array([judged[i].verdict for i in judged_twice], dtype=str) for judged in (by_first, by_second))
    labels = sorted({*a.tolist(), *b.tolist()})
    kappa = kappa_estimate(a, b, Groups.from_names([groups[i] for i in judged_twice])) if judged_twice else None
    kappa = None if kappa is None or np.isnan(kappa.value) else kappa
    return Agreement(
        n=len(a),
        judge_errors=len(by_first) - len(a),
        agree_percent=100 * float((a == b).mean()) if len(a) else None,
        kappa=kappa.value if kappa else None,
        kappa_interval=_bounded(kappa) if kappa else None,
        labels=labels,
        confusion=confusion_matrix(a, b, labels=labels).tolist() if len(a) else [],
        **about,
    )


def _bounded(kappa: Estimate) -> Interval | None:
    bounds = kappa.interval()
    return (max(-1.0, bounds[0]), min(1.0, bounds[1])) if bounds else None


def compare_judges(model: str, task: str, inputs: Sequence[Any], judges: Judges, sample: int, *, seed: int) -> Agreement:
    """Let both judges of a study judge the same random sample of its replies.

    Args:
        model: model that wrote the replies.
        task: correctness, falseqa or jailbreak. If the study's judge of jailbreaks grades them, both judgements are reduced
            to harmful or harmless.
        inputs: what can be sampled, from read_agreement_inputs.
        judges: the judges of the study.
        sample: maximum sample size.
        seed: seed of the sample.
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
    return agreement_scores(by_rules, by_llm, _subjects(drawn), **about)


def _subjects(drawn: Sequence[Answer | Exchange]) -> list[str]:
    """What each reply is about: the connected set of its question's accepted answers, or the request."""
    keys = [reply.question if isinstance(reply, Answer) else reply.request for reply in drawn]
    answers = [answers_that_connect(r.aliases, r.answer_type) if isinstance(r, Answer) else () for r in drawn]
    return connected_answers(answers, keys)


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
    of_rows = [{**facts[row["item_id"]], "truncated": row["truncated"]} for row in rows]
    return list(first_exchanges(of_rows, [row["replies"] for row in rows]))
