"""Schemas of the files that stages exchange."""

import re
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# Rows of such a file as dictionaries by column.
Rows = Sequence[dict[str, Any]]


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(columns)


QUESTIONS = _schema(
    question_id=pa.string(),
    dataset=pa.string(),
    kind=pa.string(),  # questions of one kind are worded alike; classes are balanced within it
    question=pa.string(),
    instruction=pa.string(),  # how to answer, appended to the question in the prompt
    # Every accepted spelling of the gold answer; empty if the question has no answer.
    aliases=pa.list_(pa.string()),
    answer_type=pa.string(),  # names the vocabulary of possible answers
    split=pa.string(),  # train, selection or test
    popularity=pa.float64(),  # population of the city asked about; null for other questions
)

RESPONSES = _schema(
    question_id=pa.string(),
    sample=pa.int32(),
    prompt_ids=pa.list_(pa.int32()),
    response_ids=pa.list_(pa.int32()),
    # Natural log, one per response token, at temperature 1; or none.
    logprobs=pa.list_(pa.float32()),
    text=pa.string(),  # the answer, without the thoughts before it
    truncated=pa.bool_(),  # ended at the limit of new tokens
    thoughts=pa.string(),  # what a thinking model wrote before its answer; null if nothing
    thought_tokens=pa.int32(),  # number of response tokens that are thoughts
)

# Like RESPONSES, with one answer per question for each set of neurons.
SUPPRESSED = pa.schema([("neurons", pa.string()), *RESPONSES])

VERDICTS = _schema(
    question_id=pa.string(),
    sample=pa.int32(),
    verdict=pa.string(),  # correct, incorrect, refused, unparsed, error
    why=pa.string(),
    judge=pa.string(),
)

SUPPRESSED_VERDICTS = pa.schema([("neurons", pa.string()), *VERDICTS])

SPANS = _schema(
    question_id=pa.string(),
    sample=pa.int32(),
    start=pa.int32(),  # characters of the response's text, end exclusive
    end=pa.int32(),
    method=pa.string(),  # alias, candidate or declines by rules; llm
    extractor=pa.string(),  # rules, or the name of the LLM
    token_mask=pa.list_(pa.bool_()),  # one per response token
)

EXAMPLES = _schema(
    question_id=pa.string(),
    sample=pa.int32(),
    kind=pa.string(),
    split=pa.string(),
    label=pa.int8(),  # 1 hallucinated, 0 faithful
)

# CETT shards have one more column per layer, "layer_000" …: fixed-size binary of d_ff little-endian float16.
CETT_ROW = _schema(
    question_id=pa.string(),
    sample=pa.int32(),
    split=pa.string(),
    region=pa.string(),  # answer or other
    label=pa.int8(),
)

NEURONS = _schema(
    layer=pa.int32(),
    neuron=pa.int32(),
    weight=pa.float64(),
    is_h_neuron=pa.bool_(),
    # Share of bootstrap resamples in which its weight has this sign; NaN without resamples.
    stability=pa.float64(),
)

PATH = _schema(
    C=pa.float64(),
    layer=pa.int32(),
    neuron=pa.int32(),
    weight=pa.float64(),  # non-zero weights only
    # Shares in which the weight has this sign: of all C, of bootstraps, and of halves of the training questions.
    over_C=pa.float64(),
    bootstrap=pa.float64(),
    halves=pa.float64(),
)

ITEMS = _schema(
    item_id=pa.string(),
    turns=pa.list_(pa.string()),  # what the user says, turn by turn
    facts=pa.string(),  # JSON: what the judge needs to know about the item
    decoding=pa.string(),  # JSON: how the replies are decoded
)

REPLIES = _schema(
    item_id=pa.string(),
    replies=pa.list_(pa.string()),  # one per turn, without thoughts
    tokens=pa.list_(pa.int32()),
    truncated=pa.list_(pa.bool_()),  # ended at the limit of new tokens
    thoughts=pa.list_(pa.string()),  # null where a reply has none
)

RUNS = _schema(
    item_id=pa.string(),
    replies=pa.list_(pa.string()),  # one per turn
    eligible=pa.bool_(),  # in the denominator of the compliance rate
    compliant=pa.bool_(),
    # Of the decisive reply: the last one; of several turns the first, if it could not be read.
    state=pa.string(),  # parsed, refused, unparsed or error
    why=pa.string(),
    tokens=pa.int32(),
    truncated=pa.bool_(),  # ended at the limit of new tokens
    subset=pa.string(),  # the item's sub-set within its benchmark; null if it has no sub-sets
    grade=pa.float64(),  # score of a graded judge, 0 to 1; null for yes/no judges and for states
    group=pa.string(),  # connected set of gold answers, shared by items that are not independent; null: the item alone
)

PERPLEXITY = _schema(
    neurons=pa.string(),  # the set that was scaled, or untouched
    alpha=pa.float64(),
    window=pa.int32(),
    tokens=pa.int32(),  # number of predicted tokens
    nll=pa.float64(),  # sum over these tokens, in nats
)

SCALED_CETT = _schema(
    alpha=pa.float64(),
    layer=pa.int32(),
    neuron=pa.int32(),
    cett=pa.float64(),  # mean over answer tokens and responses
)

DRIFT = _schema(
    layer=pa.int32(),
    neuron=pa.int32(),
    up=pa.float64(),  # 1 - cosine of the row of W_up before and after
    down=pa.float64(),  # the same for the column of W_down
    rank=pa.float64(),  # 0 changed most, 1 least, among all neurons
    rank_in_layer=pa.float64(),
    is_h_neuron=pa.bool_(),
)

# The instruction that ended a question in files of version 0.1; it is a separate column now.
_INSTRUCTION = (
    r"(?s)^(?P<question>.*) (?P<instruction>(?:Respond|Answer) with the [^.]* only(?:, without any explanation)?\.)$"
)


def upgraded(table: pa.Table) -> pa.Table:
    """Convert a table to the columns of this version, so that a renamed column does not cause new sampling or judging.

    In version 0.1, `truncated` was a finish_reason of "length", and `instruction` was part of the question. Judged runs had
    no `subset`, `grade` or `group`, and responses no column for thoughts.
    """
    names = table.schema.names
    if "finish_reason" in names:
        truncated = pc.equal(table["finish_reason"], "length")
        table = table.set_column(names.index("finish_reason"), "truncated", truncated)
    if {"question", "answer_type"} <= set(names) and "instruction" not in names:
        parts = pc.extract_regex(table["question"], _INSTRUCTION)
        question = pc.coalesce(pc.struct_field(parts, "question"), table["question"])
        table = table.set_column(names.index("question"), "question", question)
        instruction = pc.coalesce(pc.struct_field(parts, "instruction"), "")
        # In the place of QUESTIONS, so that old and new shards can be concatenated.
        table = table.add_column(names.index("question") + 1, "instruction", instruction)
    if {"eligible", "compliant"} <= set(names):
        for name in ("subset", "grade", "group"):
            if name not in names:
                field = RUNS.field(name)
                table = table.append_column(field, pa.nulls(len(table), field.type))
    if "response_ids" in names and "thoughts" not in names:
        table = table.append_column(RESPONSES.field("thoughts"), pa.nulls(len(table), pa.string()))
        table = table.append_column(RESPONSES.field("thought_tokens"), pa.array([0] * len(table), pa.int32()))
    if _is_of_replies(names) and "thoughts" not in names:
        table = table.append_column(REPLIES.field("thoughts"), pa.nulls(len(table), REPLIES.field("thoughts").type))
    return table


def upgraded_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Convert the facts of a test question, as `upgraded` does."""
    match = re.match(_INSTRUCTION, facts["question"])
    return {**facts, "question": match["question"]} if match else facts


def upgraded_row(row: dict[str, Any]) -> dict[str, Any]:
    """Convert a row of a journal, as `upgraded` does."""
    if "finish_reason" in row:
        row = {**row, "truncated": row["finish_reason"] == "length"}
    if "response_ids" in row:
        return {"thoughts": None, "thought_tokens": 0, **row}
    return {"thoughts": None, **row} if _is_of_replies(row) else row


def _is_of_replies(names: Collection[str]) -> bool:
    """Whether these are the columns of REPLIES, not of the judged RUNS."""
    return {"item_id", "replies", "tokens"} <= set(names) and "eligible" not in names
