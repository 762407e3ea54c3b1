"""A probe from a user's own labelled responses: measured, fitted, and scored in folds, as a study does.

All pairs train. C is chosen in folds over groups, and each pair is scored by fits, with their C tuned alike, that did not
see its group.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from hneurons import store
from hneurons.cett.columns import ShardColumns
from hneurons.cett.stage import measure_shard
from hneurons.cett.tokens import token_cett
from hneurons.config.study import CettSettings, ProbeSettings
from hneurons.detection.domains import compare_domains
from hneurons.detection.folds import FOLDS, score_in_folds
from hneurons.detection.results import DatasetScores
from hneurons.errors import HNeuronsError
from hneurons.generation.batching import in_batches
from hneurons.generation.prompts import begins_in_thoughts, end_of_turn, ends_of_reply, given_ids, template_hash
from hneurons.generation.requests import request_ids
from hneurons.generation.thoughts import taken_apart
from hneurons.generation.tokens import token_mask, token_offsets
from hneurons.judges.rule_judge import RuleJudge
from hneurons.judges.states import Answer
from hneurons.models.decoder import model_identity
from hneurons.probe.design import Design
from hneurons.probe.examples import example_frame
from hneurons.probe.path import fit_probe_path
from hneurons.probe.stage import Probe, finish_probe
from hneurons.probe.tuned import choose_in_folds
from hneurons.records import RESPONSES

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from hneurons.detection.pairs import Pair

logger = logging.getLogger(__name__)

# Fewer pairs of a class are refused, or get a warning.
_LEAST, _FEW = 6, 100


@dataclass(frozen=True)
class _Measured:
    """A loaded model, as `measure_shard` takes it."""

    model: PreTrainedModel
    identity: dict[str, Any]
    study_folder: Path


@dataclass(frozen=True)
class Fitted:
    """What labelled pairs taught.

    Attributes:
        probe: the H-Neurons, and the classifiers that they are compared with.
        scores: of the probe and all baselines, on answers in folds over groups.
        choice: a row per C, as choose_in_folds returns it.
        domains: a row per pair of domains, as `compare_domains` returns it; empty without domains.
    """

    probe: Probe
    scores: DatasetScores
    choice: pd.DataFrame
    domains: pd.DataFrame


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Check that there are enough pairs to learn from.

    Raises:
        HNeuronsError: with fewer than 6 pairs of a class, or fewer groups than folds.
    """
    count = Counter(pair.label for pair in pairs)
    described = f"{count[1]} hallucinated and {count[0]} faithful pairs"
    if min(count[0], count[1]) < _LEAST:
        raise HNeuronsError(f"{described}: at least {_LEAST} of each are needed, and some hundreds to say anything")
    if (groups := len({pair.group for pair in pairs})) < FOLDS:
        raise HNeuronsError(f"{described} in {groups} groups: at least {FOLDS} groups are needed, for folds over groups")
    if min(count[0], count[1]) < _FEW:
        logger.warning("%s: with so few, other neurons would do as well; trust the intervals, not the neurons", described)


def fit_pairs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    folder: str | Path,
    settings: ProbeSettings,
    *,
    name: str = "pairs",
    seed: int = 0,
    token_budget: int = 8192,
    memory_gb: float = 4.0,
    threads: int = 1,
    by_domain: bool = False,
) -> Fitted:
    """Measure CETT of labelled responses, and fit and score the probe on it.

    Args:
        model: the model that said them, or that is to judge them.
        tokenizer: its tokenizer.
        pairs: the labelled responses.
        folder: for what is measured; a second call with the same model and pairs measures nothing again.
        settings: penalty, labels, grid of C, resamples, and the number of random sets.
        name: of the pairs, in tables.
        seed: of random neurons and resamples.
        token_budget: tokens per batch.
        memory_gb: memory for features.
        threads: threads for the fits.
        by_domain: whether to compare the domains that pairs name.

    Raises:
        HNeuronsError: if there are too few pairs, an answer has no token, or no C leaves an H-Neuron.
    """
    check_pairs(pairs)
    folder = Path(folder)
    measured = _Measured(model, {"model": _name_of(model), **model_identity(model), **_weights_of(model)}, folder)
    made_by = {"pairs": name, "chat_template": template_hash(tokenizer), "cett": CettSettings().model_dump()}
    # 1. Tokens, spans and log-probabilities
    responses, spans, texts = _responses(measured, tokenizer, pairs, token_budget)
    examples = [
        {"question_id": pair.key, "sample": 0, "kind": pair.domain, "split": "train", "label": pair.label} for pair in pairs
    ]
    # 2. CETT
    shard = str(folder / "cett.parquet")
    facts = {"chat_template": made_by["chat_template"], "cett": made_by["cett"]}
    measure_shard(measured, examples, responses, spans, shard, CettSettings(), facts, token_budget=token_budget)
    # 3. The probe
    gold_of = {pair.key: pair.group for pair in pairs}
    frame = example_frame(pd.DataFrame(examples), texts.assign(gold=texts["question_id"].map(gold_of)))
    options: dict[str, Any] = {"memory_gb": memory_gb, "threads": threads}
    columns = ShardColumns([shard], memory_gb)
    design = Design.from_rows(columns, settings.labels, gold_of)
    path = fit_probe_path([shard], settings, seed, gold_of=gold_of, selection=False, **options)
    choice = choose_in_folds(columns, design, path, settings, **options)
    identity = {**measured.identity, **made_by, "probe": settings.model_dump(mode="json"), "seed": seed}
    probe = finish_probe([shard], path, choice, settings, seed, identity, frame, **options)
    # 4. Scores in folds
    methods, sweep = score_in_folds(frame, probe.classifiers, [shard], settings, seed, **options)
    count = Counter(pair.label for pair in pairs)
    scores = DatasetScores(
        model=identity["model"],
        dataset=f"{name}: folds by group",
        judge="labels of the file",
        verdicts={"incorrect": count[1], "correct": count[0]},
        faithful_are="labelled as faithful",
        methods=methods,
        extractor="rules" if any(pair.span is None for pair in pairs) else "the file",
        sweep=sweep,
    )
    domains = compare_domains(columns, design, pairs, settings, **options) if by_domain else pd.DataFrame()
    return Fitted(probe, scores, choice, domains)


def _name_of(model: PreTrainedModel) -> str:
    return Path(str(model.config._name_or_path or model.config.model_type)).name


def _weights_of(model: PreTrainedModel) -> dict[str, Any]:
    """What tells a local model from one of the same name and shape: sizes and times of its files."""
    files = sorted(Path(str(model.config._name_or_path)).glob("*.safetensors"))
    marks = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return {"dtype": str(model.dtype).removeprefix("torch."), **({"weights": store.fingerprint(marks)} if marks else {})}


def _responses(
    measured: _Measured, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], token_budget: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], pd.DataFrame]:
    """Rows of RESPONSES and SPANS, and both joined, for the pairs."""
    opened = begins_in_thoughts(tokenizer) if tokenizer.chat_template else False
    # Sampled responses end so, and the token is one of the other tokens of eq. 3.
    end = end_of_turn(tokenizer, ends_of_reply(measured.model, tokenizer))
    rows = []
    for pair, response in zip(pairs, given_ids(tokenizer, [pair.request.response for pair in pairs]), strict=True):
        ids = [*response, end]
        apart = taken_apart(tokenizer, ids, opened)
        if not apart.text:
            raise HNeuronsError(f"{pair.key}: the response has no tokens after its thoughts")
        rows.append(
            {
                "question_id": pair.key,
                "sample": 0,
                "prompt_ids": request_ids(tokenizer, pair.request),
                "response_ids": ids,
                "text": apart.text,
                "truncated": False,
                "thoughts": apart.thoughts,
                "thought_tokens": apart.thought_tokens,
            }
        )
    _add_logprobs(measured, rows, token_budget)
    spans = [_span_row(tokenizer, pair, row) for pair, row in zip(pairs, rows, strict=True)]
    texts = pd.DataFrame(rows).merge(pd.DataFrame(spans), on=["question_id", "sample"]).assign(popularity=float("nan"))
    return rows, spans, texts


def _add_logprobs(measured: _Measured, rows: list[dict[str, Any]], token_budget: int) -> None:
    """Add the log-probability of each response token; those of an earlier call are kept in a file."""
    path = measured.study_folder / "responses.parquet"
    sequences = [[*row["prompt_ids"], *row["response_ids"]] for row in rows]
    lengths = [len(row["response_ids"]) for row in rows]
    mark = store.fingerprint([measured.identity, sequences, lengths])
    if store.is_up_to_date(path, mark):
        for row, kept in zip(rows, store.read_table(path, RESPONSES)["logprobs"].to_pylist(), strict=True):
            row["logprobs"] = kept
        return

    def run(batch: list[int]) -> list[Any]:
        one_neuron = {0: [0]}
        return token_cett(measured.model, [sequences[i] for i in batch], one_neuron, [lengths[i] for i in batch])

    for batch, values in in_batches([len(s) for s in sequences], token_budget, run):
        for i, (_, logprobs) in zip(batch, values, strict=True):
            rows[i]["logprobs"] = logprobs.tolist()
    store.write_table(path, pa.Table.from_pylist(rows, schema=RESPONSES), {"mark": mark})


def _span_row(tokenizer: PreTrainedTokenizerBase, pair: Pair, row: dict[str, Any]) -> dict[str, Any]:
    """A row of SPANS: the span of the file, or the one that the rules find, or else the entire response."""
    before = row["thought_tokens"]
    text, offsets = token_offsets(tokenizer, row["response_ids"][before:])
    span, method = pair.span, "file"
    if span is not None:
        # The tokenizer may write a text in another form.
        answer = (pair.request.response or "")[slice(*span)]
        start = text.find(answer, max(0, span[0] - 2 * before))
        span = (start, start + len(answer)) if start >= 0 else None
    if span is None:
        (span,) = RuleJudge().span([Answer(pair.request.asks, text)])
        method = "candidate"
    start, end = span or (0, len(text))
    mask = token_mask(offsets, start, end)
    if not any(mask):
        raise HNeuronsError(f"{pair.key}: no token of the response {text!r} is in the answer")
    return {
        "question_id": pair.key,
        "sample": 0,
        "start": start,
        "end": end,
        "method": method,
        "extractor": "rules" if method == "candidate" else "file",
        "token_mask": [False] * before + mask,
    }
