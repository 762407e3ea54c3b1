"""A page of a model's test answers: what the judge said about each, and whether the probe is a hit or a miss."""

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from scipy.special import expit

from hneurons import store
from hneurons.data.folding import find_phrase
from hneurons.data.questions import prompt_of
from hneurons.detection.scores import answers_to_score, logits_of
from hneurons.probe.classifiers import PROBE, Classifier
from hneurons.probe.confidence import Combined
from hneurons.probe.examples import CONFIDENCE_COLUMNS
from hneurons.records import QUESTIONS
from hneurons.report.html import Cell, Grid, make_grid, number_cell, write_html
from hneurons.seeds import seed_of

# Answers that the page shows in full.
DRAWN = 10


@dataclass(frozen=True)
class ScoredAnswer:
    """A test answer with its verdict and scores.

    Attributes:
        dataset, question_id: name of the data set, and the question's identifier in it.
        prompt: the question with its instruction, as the model received it.
        gold: the first accepted spelling of the gold answer; empty for a question without one.
        response: the model's text.
        start, end: characters of the response that are the answer, end exclusive.
        wrong: whether the judge considers the answer hallucinated.
        logit: log-odds of the probe.
        logprob, logprob_min: mean and minimum log-probability of the answer tokens; NaN if a server returned none.
        combined_logit: log-odds of the combined detector; NaN without one, or without log-probabilities.
    """

    dataset: str
    question_id: str
    prompt: str
    gold: str
    response: str
    start: int
    end: int
    wrong: bool
    logit: float
    logprob: float
    logprob_min: float
    combined_logit: float

    @property
    def answer(self) -> str:
        """The part of the response that carries its claim."""
        return self.response[self.start : self.end]

    @property
    def marked(self) -> Markup:
        """The response as HTML, with the answer marked."""
        before, after = self.response[: self.start], self.response[self.end :]
        return Markup("{}<mark>{}</mark>{}").format(before, self.answer, after)

    @property
    def verdict(self) -> str:
        """What the judge said."""
        return "wrong" if self.wrong else "right"

    @property
    def probability(self) -> float:
        """p(hallucinated) by the probe."""
        return float(expit(self.logit))

    @property
    def combined_probability(self) -> float:
        """p(hallucinated) by the combined detector; NaN without one."""
        return float(expit(self.combined_logit))

    @property
    def hit(self) -> bool:
        """Whether the probe's side of 0.5 is the judge's, as accuracy in Table 1 counts it."""
        return (self.logit > 0) == self.wrong

    @property
    def found_first(self) -> bool:
        """Whether `detect` finds the answer at this place, and not earlier in the response."""
        return find_phrase(self.response, self.answer) == (self.start, self.end)


def scored_answers(
    examples: Mapping[str, pd.DataFrame],
    faithful: Mapping[str, str],
    questions: Sequence[str | Path],
    shards: Sequence[str],
    probe: Classifier,
    combined: Combined | None,
    seed: int,
    *,
    in_domain: str,
) -> list[ScoredAnswer]:
    """Score the test answers of Table 1, each under the data set that asked its question.

    Args:
        examples: read_example_frame of each data set, by name.
        faithful: as in score_dataset, by data set.
        questions: files of QUESTIONS of all data sets.
        shards: CETT shards of all data sets; the folder's name is the data set's.
        probe: the classifier named PROBE.
        combined: the combined detector of the probe stage.
        seed: the study's seed.
        in_domain: name of the in-domain set.

    Returns:
        Answers in the order of the data sets and their questions; none of a set with too few examples.
    """
    tables = [store.read_table(path, QUESTIONS).select(QUESTIONS.names) for path in questions]
    asked_in = {(q["dataset"], q["question_id"]): q for table in tables for q in table.to_pylist()}
    answers: list[ScoredAnswer] = []
    for dataset, frame in examples.items():
        # Faithful answers of the in-domain set are listed there.
        scored = answers_to_score(frame, examples[in_domain], faithful[dataset], seed)[0].sort_index()
        if scored.empty:
            continue
        logits = logits_of({PROBE: probe}, [s for s in shards if Path(s).parent.name == dataset], scored)[PROBE]
        confidence = scored[list(CONFIDENCE_COLUMNS)].to_numpy(dtype=float)
        of_combined = np.full(len(scored), np.nan) if combined is None else combined.logits(logits, confidence)
        for i, row in enumerate(scored.to_dict("records")):
            question = asked_in[dataset, row["question_id"]]
            answers.append(
                ScoredAnswer(
                    dataset=dataset,
                    question_id=row["question_id"],
                    prompt=prompt_of(question),
                    gold=next(iter(question["aliases"]), ""),
                    response=row["text"],
                    start=row["start"],
                    end=row["end"],
                    wrong=row["label"] == 1,
                    logit=float(logits[i]),
                    logprob=confidence[i, 0],
                    logprob_min=confidence[i, 1],
                    combined_logit=float(of_combined[i]),
                )
            )
    return answers


def draw_answers(answers: Sequence[ScoredAnswer], seed: int, count: int = DRAWN) -> list[ScoredAnswer]:
    """Draw answers at random; most of an earlier draw remains when answers are added.

    Args:
        answers: of all data sets.
        seed: the study's seed.
        count: number of answers to draw, fewer if there are fewer.

    Returns:
        The answers in the order in which they are drawn.
    """
    return sorted(answers, key=lambda a: seed_of(seed, "answers", a.dataset, a.question_id))[:count]


def command_to_detect(answer: ScoredAnswer, model: str | Path) -> str:
    """Return the shell command that scores an answer again.

    Args:
        answer: the answer.
        model: the model's folder in the results of the study.
    """
    options = {
        "--model": f"{model}/checkpoint",
        "--neurons": f"{model}/published",
        "--question": answer.prompt,
        "--response": answer.response,
        "--answer": answer.answer,
    }
    return " ".join([".venv/bin/hneurons detect", *(f"{name} {shlex.quote(value)}" for name, value in options.items())])


def _hits(answers: Sequence[ScoredAnswer]) -> Cell:
    """The cell "hits of answers (share)", sorted by the share; empty without answers."""
    if not answers:
        return Cell("")
    share = sum(a.hit for a in answers) / len(answers)
    return Cell(f"{sum(a.hit for a in answers)} of {len(answers)} ({share:.2f})", share)


def summary_grid(answers: Sequence[ScoredAnswer], counts: Mapping[str, Mapping[str, Any]]) -> Grid:
    """Count hits and misses of the probe on each data set.

    Args:
        answers: of all data sets.
        counts: what example_table returned besides the examples, by data set.
    """
    rows: list[dict[str, Any]] = []
    for dataset, count in counts.items():
        of_set = [a for a in answers if a.dataset == dataset]
        wrong, right = [a for a in of_set if a.wrong], [a for a in of_set if not a.wrong]
        hits = sum(a.hit for a in of_set)
        rows.append({"set": dataset, "all": of_set, "wrong": wrong, "right": right, "hits": hits, "about": count})
    notes = any(row["about"].get("too_few") for row in rows)
    return make_grid(
        rows,
        {
            "data set": lambda row: row["set"],
            "n, wrong + right": lambda row: Cell(f"{len(row['wrong'])} + {len(row['right'])}", len(row["all"])),
            "hits": lambda row: number_cell(row["hits"], 0),
            "misses": lambda row: number_cell(len(row["all"]) - row["hits"], 0),
            "accuracy at 0.5": lambda row: _hits(row["all"]),
            "hits, wrong answers": lambda row: _hits(row["wrong"]),
            "hits, right answers": lambda row: _hits(row["right"]),
            "judge": lambda row: row["about"]["judge"],
            **({"note": lambda row: row["about"].get("too_few", "")} if notes else {}),
        },
    )


def answers_grid(answers: Sequence[ScoredAnswer]) -> Grid:
    """Tabulate all answers, without the columns for which no answer has a value."""
    columns: dict[str, Callable[[ScoredAnswer], Cell | str]] = {
        "data set": lambda a: a.dataset,
        "question": lambda a: a.prompt,
        "response, answer marked": lambda a: a.marked,
        "gold answer": lambda a: a.gold,
        "judge": lambda a: a.verdict,
        "probe": lambda a: "hit" if a.hit else "miss",
        "p, probe": lambda a: number_cell(a.probability),
    }
    if any(not math.isnan(a.combined_logit) for a in answers):
        columns["p, combined"] = lambda a: number_cell(a.combined_probability)
    if any(not math.isnan(a.logprob) for a in answers):
        columns["mean log p"] = lambda a: number_cell(a.logprob)
    return make_grid(answers, columns)


def write_answers_page(
    path: str | Path,
    answers: Sequence[ScoredAnswer],
    counts: Mapping[str, Mapping[str, Any]],
    model: str,
    folder: str | Path,
    seed: int,
) -> None:
    """Write the page: counts per data set, ten answers drawn at random in full, and a table of all answers.

    Args:
        path: the HTML file.
        answers: as scored_answers returns them.
        counts: what example_table returned besides the examples, by data set.
        model: name of the model.
        folder: the model's folder in the results of the study.
        seed: the study's seed.
    """
    drawn = draw_answers(answers, seed)
    write_html(
        path,
        "answers.html.jinja",
        model=model,
        seed=seed,
        n=len(answers),
        summary=summary_grid(answers, counts),
        undecided=[
            name
            for name in counts
            if (of_set := [a for a in answers if a.dataset == name])
            and {a.wrong for a in of_set} == {True, False}
            and len({a.wrong == a.hit for a in of_set}) == 1
        ],
        one_sided=[name for name in counts if {a.wrong for a in answers if a.dataset == name} == {True}],
        drawn=drawn,
        judges={name: count["judge"] for name, count in counts.items()},
        command=command_to_detect(drawn[0], folder) if drawn else "",
        answers=answers_grid(answers),
    )
