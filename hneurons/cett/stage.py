"""Stage "cett": the CETT features of a shard's examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hneurons import store
from hneurons.cett.measure import TokenRegions, cett, token_regions
from hneurons.cett.shards import SHARD_OPTIONS, read_layer, shard_table
from hneurons.config.study import CettSettings
from hneurons.errors import HNeuronsError
from hneurons.models.prepared import PreparedModel
from hneurons.records import CETT_ROW, Rows

REGIONS = ("answer", "other")

ExampleKey = tuple[str, int]


def measure_shard(
    prepared: PreparedModel,
    examples: Rows,
    responses: Rows,
    spans: Rows,
    out: str | Path,
    settings: CettSettings,
    made_by: Mapping[str, Any],
    *,
    token_budget: int,
) -> float:
    """One row per example and region: both regions of training examples, the answer alone of the scored ones.

    examples: those of all shards; the ones with a response in this shard are measured. The token ids are the sampler's
    own. A row that the file has already, of the same model, tokens and settings, is kept. Returns the share of the examples
    that was measured. Raises HNeuronsError naming an example without a span: no row is skipped silently.
    """
    sequences = regions_by_example(examples, responses, spans, settings)
    facts = {**prepared.identity, **made_by}
    mine = [e for e in examples if _key(e) in sequences]
    regions_of_key = {_key(e): REGIONS if e["split"] == "train" else REGIONS[:1] for e in mine}
    marks = {key: store.fingerprint([facts, s.ids, s.regions, regions_of_key[key]]) for key, s in sequences.items()}
    made = {**facts, "rows": {"/".join(map(str, key)): mark for key, mark in marks.items()}}
    # Labels and splits may change where no token does.
    mark = store.fingerprint([made, [[*_key(e), e["split"], e["label"]] for e in mine]])
    if store.is_up_to_date(out, mark):
        return 0.0
    features = _kept(out, marks)
    left = [key for key in sequences if key not in features]
    if left:
        progress = tqdm(total=len(sequences), initial=len(features), desc="CETT", unit="response")
        for index, values in cett(prepared.model, [sequences[key] for key in left], token_budget):
            # What is above float16 becomes infinite here, and is refused with its example below.
            with np.errstate(over="ignore"):
                kept = {r: values[i].astype(np.float16) for i, r in enumerate(regions_of_key[left[index]])}
            features[left[index]] = kept
            progress.update()
        progress.close()
    rows, cells = [], []
    for example in mine:
        for region in regions_of_key[_key(example)]:
            rows.append({**{k: example[k] for k in ("question_id", "sample", "split", "label")}, "region": region})
            cells.append(features[_key(example)][region])
    table = shard_table(rows, cells, prepared.identity["layers"], prepared.identity["d_ff"])
    store.write_table(out, table, {**made, "mark": mark}, **SHARD_OPTIONS)
    return len(left) / len(sequences) if sequences else 0.0


def _key(row: Mapping[str, Any]) -> ExampleKey:
    return row["question_id"], row["sample"]


def regions_by_example(
    examples: Rows, responses: Rows, spans: Rows, settings: CettSettings
) -> dict[ExampleKey, TokenRegions]:
    """What is measured of each example that has a response here. Raises HNeuronsError for one without an answer span."""
    span_of = {_key(s): s for s in spans}
    response_of = {_key(r): r for r in responses}
    found = {}
    for example in examples:
        key = _key(example)
        if key not in response_of:
            continue
        if key not in span_of:
            raise HNeuronsError(f"{key[0]}, sample {key[1]}: an example without an answer span")
        response = response_of[key]
        found[key] = token_regions(response["prompt_ids"], response["response_ids"], span_of[key]["token_mask"], settings)
    return found


def _kept(path: str | Path, marks: Mapping[ExampleKey, str]) -> dict[ExampleKey, dict[str, np.ndarray]]:
    """Features [layers, d_ff] by region of the examples that a file has, measured as their marks say."""
    if not Path(path).exists():
        return {}
    had = store.made_by(path).get("rows", {})
    table = store.read_table(path, CETT_ROW)
    layers = [read_layer(table, layer) for layer in range(len(table.schema) - len(CETT_ROW))]
    found: dict[ExampleKey, dict[str, np.ndarray]] = {}
    for i, row in enumerate(table.select(CETT_ROW.names).to_pylist()):
        if (key := _key(row)) in marks and had.get("/".join(map(str, key))) == marks[key]:
            found.setdefault(key, {})[row["region"]] = np.stack([values[i] for values in layers])
    return found
