"""Stage "suppressed": answers to selection questions with the H-Neurons of each C at α = 0, in one job (METHOD.md §1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from hneurons import store
from hneurons.config.study import Decoding, SamplingSettings
from hneurons.generation.prompts import template_hash
from hneurons.judges.examples import verdict_table
from hneurons.judges.judge import Judge
from hneurons.probe.path import ProbePath, distinct_neuron_sets
from hneurons.records import QUESTIONS, SUPPRESSED, Rows

if TYPE_CHECKING:
    from hneurons.generation.engine import Engine


def selection_questions(questions: Rows, most: int) -> list[dict[str, Any]]:
    """The first `most` questions of the selection split: disjoint from those of training and of the test, by answer too."""
    return [q for q in questions if q["split"] == "selection"][:most]


def sample_suppressed(
    engine: Engine,
    path: str | Path,
    questions: str | Path,
    out: str | Path,
    decoding: Decoding,
    most: int,
    made_by: Mapping[str, Any],
) -> float:
    """One answer to each question for every different set of H-Neurons along the path; decoded and seeded as untouched.

    path: path.parquet. What the file, or the journal of a job that was killed, has of the same sets and questions is kept.
    Returns the share that was sampled.
    """
    # Whoever judges the answers needs no torch.
    from hneurons.generation.sampling import sample_questions

    one_each = SamplingSettings(samples=1, decoding=decoding)
    sets = distinct_neuron_sets(ProbePath.load(path))
    asked = selection_questions(store.read_table(questions, QUESTIONS).to_pylist(), most)
    facts = {**engine.identity, **made_by, "chat_template": template_hash(engine.tokenizer)}
    mark = store.fingerprint(facts)
    wanted = [(name, q["question_id"]) for name in sets for q in asked]
    if store.is_up_to_date(out, mark, answers=store.fingerprint(wanted)):
        Path(f"{out}.journal").unlink(missing_ok=True)
        return 0.0
    journal = store.Journal(f"{out}.journal", mark)
    had = list(journal.rows)
    if Path(out).exists() and store.made_by(out).get("mark") == mark:
        had += store.read_table(out, SUPPRESSED).to_pylist()
    done = {(row["neurons"], row["question_id"]): row for row in had}
    left = sum(key not in done for key in wanted)
    with tqdm(total=len(wanted), initial=len(wanted) - left, desc=f"{len(sets)} sets at alpha=0", unit="answer") as bar:
        for name, neurons in sets.items():
            some = [q for q in asked if (name, q["question_id"]) not in done]
            if not some:
                continue
            with engine.scaled(neurons, 0.0):
                for question_id, responses in sample_questions(engine, some, one_each, made_by):
                    row = {"neurons": name, **responses[0]}
                    journal.add([row])
                    done[name, question_id] = row
                    bar.update()
    table = pa.Table.from_pylist([done[key] for key in wanted], schema=SUPPRESSED)
    store.write_table(out, table, {**facts, "mark": mark, "answers": store.fingerprint(wanted)})
    journal.remove()
    return left / len(wanted) if wanted else 0.0


def judge_suppressed(questions: Rows, answers: Rows, judge: Judge) -> pa.Table:
    """The judge's verdict on every answer, by the set that was suppressed."""
    table = verdict_table(questions, answers, judge)
    return table.add_column(0, "neurons", pa.array([row["neurons"] for row in answers], pa.string()))


def verdicts_by_set(
    questions: Rows, most: int, suppressed: pa.Table, untouched: Sequence[pa.Table]
) -> dict[str, pd.DataFrame]:
    """Verdicts on the same questions by the mark of the suppressed set, "" for the untouched model."""
    asked = {q["question_id"] for q in selection_questions(questions, most)}
    frame = pa.concat_tables(untouched).to_pandas()
    return {"": frame[frame["question_id"].isin(asked)]} | {
        str(name): of for name, of in suppressed.to_pandas().groupby("neurons")
    }
