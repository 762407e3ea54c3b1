"""What is known about each example besides CETT: its gold answer, its words, and how confident the model was."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from hneurons import store
from hneurons.data.gold_answers import answer_groups
from hneurons.records import EXAMPLES, QUESTIONS, RESPONSES, SPANS

# Columns of the frame that say how confident the model was, from the log-probabilities of the answer tokens.
CONFIDENCE_COLUMNS = ("answer_logprob", "answer_logprob_min")


def example_frame(examples: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
    """Add the features of the baselines to examples.

    Args:
        examples: rows of schema EXAMPLES.
        texts: responses joined with spans and questions, one row per question_id and sample.

    Returns:
        The examples with answer (text), length (tokens without thoughts), logprob (mean over them), answer_logprob and
        answer_logprob_min (mean and minimum over the answer tokens; all three NaN if a server returned none), and
        population (log10; NaN for questions that are not about a city).
    """
    frame = examples.merge(texts, on=["question_id", "sample"], how="left", validate="one_to_one")
    frame["answer"] = [t[s:e] for t, s, e in zip(frame["text"], frame["start"], frame["end"], strict=True)]
    # Thoughts before the answer are not what the model says.
    thoughts = frame["thought_tokens"]
    frame["length"] = [len(ids) - n for ids, n in zip(frame["response_ids"], thoughts, strict=True)]
    of_answer = [
        np.asarray(values)[np.asarray(mask, dtype=bool)] if len(values) else np.array([np.nan])
        for values, mask in zip(frame["logprobs"], frame["token_mask"], strict=True)
    ]
    frame["logprob"] = [
        float(np.mean(values[n:])) if len(values) > n else np.nan
        for values, n in zip(frame["logprobs"], thoughts, strict=True)
    ]
    frame["answer_logprob"] = [float(values.mean()) for values in of_answer]
    frame["answer_logprob_min"] = [float(values.min()) for values in of_answer]
    frame["population"] = np.log10(frame["popularity"])
    return frame


def read_example_frame(
    dataset: str, questions: Sequence[str], examples: Sequence[str], responses: Sequence[str], spans: Sequence[str]
) -> pd.DataFrame:
    """Read the example_frame of one data set, with the connected set of accepted answers of each question as `gold`.

    Args:
        dataset: name of the data set.
        questions, examples, responses, spans: files of several data sets; the file's name or folder is the data set's name.
    """

    def rows(paths: Sequence[str], schema: pa.Schema) -> pd.DataFrame:
        selected = [p for p in paths if dataset in (Path(p).stem, Path(p).parent.name)]
        tables = [store.read_table(path, schema).select(schema.names) for path in selected]
        frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
        return frame

    texts = rows(responses, RESPONSES).merge(rows(spans, SPANS), on=["question_id", "sample"])
    question_rows = rows(questions, QUESTIONS)
    columns = ("question_id", "aliases", "answer_type")
    groups = answer_groups({name: row[name] for name in columns} for _, row in question_rows.iterrows())
    question_rows["gold"] = question_rows["question_id"].map(groups)
    texts = texts.merge(question_rows[["question_id", "popularity", "gold"]], on="question_id")
    return example_frame(rows(examples, EXAMPLES), texts)
