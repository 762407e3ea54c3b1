"""Stage "cett": the CETT features of a shard's examples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hneurons import store
from hneurons.cett.measure import cett
from hneurons.cett.norms import MeasuredModel, norms_of
from hneurons.cett.regions import TokenRegions, token_regions
from hneurons.cett.shards import SHARD_OPTIONS, read_layer, shard_table
from hneurons.config.study import CettSettings
from hneurons.errors import HNeuronsError
from hneurons.models.widths import Widths
from hneurons.records import CETT_ROW, Rows

REGIONS = ("answer", "other")

# Question id and sample.
ExampleKey = tuple[str, int]
# CETT of an example, by region: of every layer [d_ff].
_Features = dict[str, Sequence[np.ndarray]]


def measure_shard(
    prepared: MeasuredModel,
    examples: Rows,
    responses: Rows,
    spans: Rows,
    out: str | Path,
    settings: CettSettings,
    made_by: Mapping[str, Any],
    *,
    token_budget: int,
) -> float:
    """Measure a shard: one row per example and region, both regions of training examples, the answer alone of others.

    A row that the file already has for the same model, tokens and settings is kept.

    Args:
        prepared: the model.
        examples: of all shards; those with a response in this shard are measured.
        responses: the shard's responses, with the token ids that the sampler produced.
        spans: the shard's answer spans.
        out: the file to write.
        settings: which tokens are the other tokens.
        made_by: further facts that the features depend on, for the metadata.
        token_budget: tokens per batch.

    Returns:
        The share of the examples that was measured by this call.

    Raises:
        HNeuronsError: an example has no span (its row is never skipped silently), or its CETT is not finite in float16.
    """
    # 1. Sequences of this shard, and marks that identify model, tokens and settings of each
    sequences = regions_by_example(examples, responses, spans, settings)
    facts = {**prepared.identity, **made_by}
    in_shard = [e for e in examples if _key(e) in sequences]
    regions = {_key(e): REGIONS if e["split"] == "train" else REGIONS[:1] for e in in_shard}
    marks = {key: store.fingerprint([facts, s.ids, s.regions, regions[key]]) for key, s in sequences.items()}
    metadata = {**facts, "rows": {"/".join(map(str, key)): mark for key, mark in marks.items()}}
    # Labels and splits may change where no token does.
    mark = store.fingerprint([metadata, [[*_key(e), e["split"], e["label"]] for e in in_shard]])
    if store.is_up_to_date(out, mark):
        return 0.0
    # 2. Features: those of the file where the mark is the same, measured otherwise
    features = _reusable_features(out, marks)
    missing = [key for key in sequences if key not in features]
    if missing:
        norms = norms_of(prepared)
        measured = cett(prepared.model, [sequences[key] for key in missing], token_budget, norms)
        for index, values in tqdm(measured, total=len(sequences), initial=len(features), desc="CETT", unit="response"):
            key = missing[index]
            # Values above the range of float16 become infinite here; shard_table reports them with their example.
            with np.errstate(over="ignore"):
                features[key] = {region: values[i].astype(np.float16) for i, region in enumerate(regions[key])}
    # 3. The file
    placed = [(example, region) for example in in_shard for region in regions[_key(example)]]
    rows = [{**{k: e[k] for k in ("question_id", "sample", "split", "label")}, "region": region} for e, region in placed]
    cells = [features[_key(example)][region] for example, region in placed]
    table = shard_table(rows, cells, Widths.from_facts(prepared.identity))
    store.write_table(out, table, {**metadata, "mark": mark}, **SHARD_OPTIONS)
    return len(missing) / len(sequences) if sequences else 0.0


def _key(row: Mapping[str, Any]) -> ExampleKey:
    return row["question_id"], row["sample"]


def regions_by_example(
    examples: Rows, responses: Rows, spans: Rows, settings: CettSettings
) -> dict[ExampleKey, TokenRegions]:
    """Token regions of each example that has one of the responses.

    Args:
        examples: with `question_id` and `sample`.
        responses: with `prompt_ids` and `response_ids`.
        spans: with the `token_mask` of the answer.
        settings: which tokens are the other tokens.

    Returns:
        Regions by (question id, sample), in the order of the examples.

    Raises:
        HNeuronsError: an example has no answer span, or a region is empty.
    """
    span_of = {_key(s): s for s in spans}
    response_of = {_key(r): r for r in responses}
    regions = {}
    for key in [_key(e) for e in examples if _key(e) in response_of]:
        if key not in span_of:
            raise HNeuronsError(f"{key[0]}, sample {key[1]}: an example without an answer span")
        response = response_of[key]
        ids, mask = (response["prompt_ids"], response["response_ids"]), span_of[key]["token_mask"]
        regions[key] = token_regions(*ids, mask, settings, response["thought_tokens"])
    return regions


def _reusable_features(path: str | Path, marks: Mapping[ExampleKey, str]) -> dict[ExampleKey, _Features]:
    """Features of each layer, by region, of the examples that the file stores with the same mark."""
    if not Path(path).exists():
        return {}
    stored_marks = store.made_by(path).get("rows", {})
    table = store.read_table(path, CETT_ROW)
    layers = [read_layer(table, layer) for layer in range(len(table.schema) - len(CETT_ROW))]
    features: dict[ExampleKey, _Features] = {}
    for i, row in enumerate(table.select(CETT_ROW.names).to_pylist()):
        if (key := _key(row)) in marks and stored_marks.get("/".join(map(str, key))) == marks[key]:
            features.setdefault(key, {})[row["region"]] = [values[i] for values in layers]
    return features
