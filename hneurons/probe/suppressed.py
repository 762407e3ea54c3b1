"""Stage "suppressed": answers to selection questions with the H-Neurons of each C at α = 0, all in one job (eq. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from hneurons import store
from hneurons.config.study import Decoding, SamplingSettings
from hneurons.generation.prompts import template_hash
from hneurons.judges.judge import Judge
from hneurons.judges.verdicts import verdict_table
from hneurons.probe.path import ProbePath, distinct_neuron_sets
from hneurons.records import QUESTIONS, SUPPRESSED, Rows
from hneurons.resumable import ResumableTable

if TYPE_CHECKING:
    from hneurons.generation.engine import Engine


def selection_questions(questions: Rows, limit: int) -> list[dict[str, Any]]:
    """The first `limit` questions of the selection split, which shares no question and no gold answer with other splits."""
    return [q for q in questions if q["split"] == "selection"][:limit]


def sample_suppressed(
    engine: Engine,
    path: str | Path,
    questions: str | Path,
    out: str | Path,
    decoding: Decoding,
    most_questions: int,
    made_by: Mapping[str, Any],
) -> float:
    """Sample one answer per question for every different set of H-Neurons along the path.

    Decoding and seeds are those of the untouched model's answers.

    Args:
        engine: the engine that generates.
        path: the probe's path.parquet.
        questions: the in-domain questions.parquet.
        out: the file to write; answers that an earlier job sampled are kept.
        decoding: of the study's samples.
        most_questions: upper limit on the number of selection questions.
        made_by: the other settings that determine the answers: `prompting`, `prompt_date`, `seed`.

    Returns:
        The share of the answers that was sampled by this call.
    """
    # Imported here because jobs that only judge the answers need no torch.
    from hneurons.generation.sampling import sample_questions

    one_each = SamplingSettings(samples=1, decoding=decoding)
    sets = distinct_neuron_sets(ProbePath.load(path))
    selected = selection_questions(store.read_table(questions, QUESTIONS).to_pylist(), most_questions)
    facts = {**engine.identity, **made_by, "chat_template": template_hash(engine.tokenizer)}
    facts["mark"] = store.fingerprint(facts)
    keys = [(mark, question["question_id"]) for mark in sets for question in selected]
    table = ResumableTable(out, SUPPRESSED, ["neurons", "question_id"], keys, facts)
    by_id = {question["question_id"]: question for question in selected}
    marks, questions_left = zip(*table.left, strict=True) if table.left else ((), ())
    unanswered = [by_id[question_id] for question_id in questions_left]
    scalings = {mark: (neurons, 0.0) for mark, neurons in sets.items()}
    with table.progress(f"{len(sets)} sets at alpha=0", "answer") as bar:
        for i, rows in sample_questions(engine, unanswered, one_each, made_by, [scalings[mark] for mark in marks]):
            table.add([{"neurons": marks[i], **row} for row in rows])
            bar.update()
    table.write()
    table.close()
    return table.share


def judge_suppressed(questions: Rows, answers: Rows, judge: Judge) -> pa.Table:
    """Judge every answer; the column `neurons` of the verdicts is the mark of the suppressed set.

    Args:
        questions: rows of QUESTIONS.
        answers: rows of SUPPRESSED.
        judge: the judge of correctness.
    """
    table = verdict_table(questions, answers, judge)
    return table.add_column(0, "neurons", pa.array([row["neurons"] for row in answers], pa.string()))


def verdicts_by_set(
    questions: Rows, limit: int, suppressed: pa.Table, untouched: Sequence[pa.Table]
) -> dict[str, pd.DataFrame]:
    """Group the verdicts by suppressed set, for compare_C.

    Args:
        questions: rows of QUESTIONS.
        limit: number of selection questions that were answered with suppressed neurons.
        suppressed: verdicts of judge_suppressed.
        untouched: verdicts on the untouched model's answers; those on other questions are dropped.

    Returns:
        Verdicts by the mark of the suppressed set, "" for the untouched model.
    """
    question_ids = {q["question_id"] for q in selection_questions(questions, limit)}
    frame = pa.concat_tables(untouched).to_pandas()
    return {"": frame[frame["question_id"].isin(question_ids)]} | {
        str(mark): verdicts for mark, verdicts in suppressed.to_pandas().groupby("neurons")
    }
