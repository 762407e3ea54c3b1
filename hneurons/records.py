"""Schemas of the files that one stage writes and another reads."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

# Rows of such a file, by column.
Rows = Sequence[dict[str, Any]]

QUESTIONS = pa.schema(
    [
        ("question_id", pa.string()),
        ("dataset", pa.string()),
        ("kind", pa.string()),  # questions of one kind are worded alike; classes are balanced within it
        ("question", pa.string()),
        ("aliases", pa.list_(pa.string())),  # every accepted spelling of the gold answer; empty where there is none
        ("answer_type", pa.string()),  # names the vocabulary of possible answers
        ("split", pa.string()),  # train, selection or test
        ("popularity", pa.float64()),  # population of the place asked about; null where there is none
    ]
)

RESPONSES = pa.schema(
    [
        ("question_id", pa.string()),
        ("sample", pa.int32()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("response_ids", pa.list_(pa.int32())),
        (
            "logprobs",
            pa.list_(pa.float32()),
        ),  # natural log, one per response token, at temperature 1; or none
        ("text", pa.string()),
        ("finish_reason", pa.string()),  # stop or length
    ]
)

# As RESPONSES, one answer a question for each set of neurons.
SUPPRESSED = pa.schema([("neurons", pa.string()), *RESPONSES])

VERDICTS = pa.schema(
    [
        ("question_id", pa.string()),
        ("sample", pa.int32()),
        ("verdict", pa.string()),  # correct, incorrect, refused, unparsed, error
        ("why", pa.string()),
        ("judge", pa.string()),
    ]
)

SUPPRESSED_VERDICTS = pa.schema([("neurons", pa.string()), *VERDICTS])

SPANS = pa.schema(
    [
        ("question_id", pa.string()),
        ("sample", pa.int32()),
        ("start", pa.int32()),  # characters of the response's text, end exclusive
        ("end", pa.int32()),
        ("method", pa.string()),  # alias, candidate or declines by rules; llm
        ("extractor", pa.string()),  # rules, or the model that was asked
        ("token_mask", pa.list_(pa.bool_())),  # one per response token
    ]
)

EXAMPLES = pa.schema(
    [
        ("question_id", pa.string()),
        ("sample", pa.int32()),
        ("kind", pa.string()),
        ("split", pa.string()),
        ("label", pa.int8()),  # 1 hallucinated, 0 faithful
    ]
)

# CETT shards have one more column per layer, "layer_000" …: fixed-size binary of d_ff little-endian float16.
CETT_ROW = pa.schema(
    [
        ("question_id", pa.string()),
        ("sample", pa.int32()),
        ("split", pa.string()),
        ("region", pa.string()),  # answer or other
        ("label", pa.int8()),
    ]
)

NEURONS = pa.schema(
    [
        ("layer", pa.int32()),
        ("neuron", pa.int32()),
        ("weight", pa.float64()),
        ("is_h_neuron", pa.bool_()),
        ("stability", pa.float64()),  # share of bootstrap resamples in which its weight has this sign; NaN where none were
    ]
)

PATH = pa.schema(
    [
        ("C", pa.float64()),
        ("layer", pa.int32()),
        ("neuron", pa.int32()),
        ("weight", pa.float64()),  # not zero
        # Shares in which the weight has this sign: of all C, of bootstraps and of halves of the training questions.
        ("over_C", pa.float64()),
        ("bootstrap", pa.float64()),
        ("halves", pa.float64()),
    ]
)

ITEMS = pa.schema(
    [
        ("item_id", pa.string()),
        ("turns", pa.list_(pa.string())),  # what the user says, turn by turn
        ("facts", pa.string()),  # JSON: what the judge needs to know
        ("decoding", pa.string()),  # JSON: how the replies are decoded
    ]
)

REPLIES = pa.schema(
    [
        ("item_id", pa.string()),
        ("replies", pa.list_(pa.string())),  # one per turn
        ("tokens", pa.list_(pa.int32())),
        ("truncated", pa.list_(pa.bool_())),  # ended at the limit of new tokens
    ]
)

RUNS = pa.schema(
    [
        ("item_id", pa.string()),
        ("replies", pa.list_(pa.string())),  # one per turn
        ("eligible", pa.bool_()),  # in the denominator of the compliance rate
        ("compliant", pa.bool_()),
        ("state", pa.string()),  # parsed, refused, unparsed or error: of the reply that decides
        ("why", pa.string()),
        ("tokens", pa.int32()),  # of the last reply
        ("truncated", pa.bool_()),
    ]
)

PERPLEXITY = pa.schema(
    [
        ("neurons", pa.string()),  # the set that was scaled, or untouched
        ("alpha", pa.float64()),
        ("window", pa.int32()),
        ("tokens", pa.int32()),  # predicted ones
        ("nll", pa.float64()),  # of all of them, in nats
    ]
)

SCALED_CETT = pa.schema(
    [
        ("alpha", pa.float64()),
        ("layer", pa.int32()),
        ("neuron", pa.int32()),
        ("cett", pa.float64()),  # over answer tokens, averaged over responses
    ]
)

DRIFT = pa.schema(
    [
        ("layer", pa.int32()),
        ("neuron", pa.int32()),
        ("up", pa.float64()),  # 1 - cosine of the row of W_up before and after
        ("down", pa.float64()),  # the same of the column of W_down
        ("rank", pa.float64()),  # 0 changed most, 1 least, among all neurons
        ("rank_in_layer", pa.float64()),
        ("is_h_neuron", pa.bool_()),
    ]
)
