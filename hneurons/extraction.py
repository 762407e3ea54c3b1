"""Stage "cett": the CETT features of a shard's examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from tqdm import tqdm
from transformers import PreTrainedModel

from hneurons.cett import cett, regions_of, shard_table
from hneurons.config import CettSettings
from hneurons.errors import HNeuronsError
from hneurons.models import decoder_mlps

REGIONS = ("answer", "other")


def cett_shard(
    model: PreTrainedModel,
    examples: Sequence[dict[str, Any]],
    responses: Sequence[dict[str, Any]],
    spans: Sequence[dict[str, Any]],
    settings: CettSettings,
    *,
    token_budget: int,
) -> pa.Table:
    """One row per example and region: both regions of training examples, the answer alone of the scored ones.

    examples: those of all shards; the ones with a response in this shard are measured. The token ids are the sampler's
    own. Raises HNeuronsError naming an example without a span: no row is skipped silently.
    """
    span_of = {(s["question_id"], s["sample"]): s for s in spans}
    response_of = {(r["question_id"], r["sample"]): r for r in responses}
    mine = [e for e in examples if (e["question_id"], e["sample"]) in response_of]
    sequences = []
    for example in mine:
        key = example["question_id"], example["sample"]
        if key not in span_of:
            raise HNeuronsError(f"{key[0]}, sample {key[1]}: an example without an answer span")
        response = response_of[key]
        sequences.append(regions_of(response["prompt_ids"], response["response_ids"], span_of[key]["token_mask"], settings))
    mlps: Any = decoder_mlps(model)
    measured = dict(tqdm(cett(model, sequences, token_budget), total=len(sequences), desc="CETT", unit="response"))
    rows, features = [], []
    for i, example in enumerate(mine):
        for region, values in zip(REGIONS, measured[i], strict=True):
            if region == "answer" or example["split"] == "train":
                rows.append({**{k: example[k] for k in ("question_id", "sample", "split", "label")}, "region": region})
                features.append(values)
    return shard_table(rows, features, len(mlps), mlps[0].down_proj.in_features)
