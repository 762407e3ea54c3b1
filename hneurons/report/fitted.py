"""Fit a set of neurons to labelled pairs, and publish it as a study does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hneurons import store
from hneurons.config.study import ProbeSettings
from hneurons.detection.fit import Fitted, fit_pairs
from hneurons.detection.pairs import make_pairs, read_pairs
from hneurons.models.hub import is_hub_id
from hneurons.models.tokenizer import tokenizer_beside
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.published import publish, with_results
from hneurons.report.tables.detection import sweep_table, table1

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def fit(
    model: PreTrainedModel,
    pairs: str | Path | Iterable[Mapping[str, Any]],
    folder: str | Path | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    labels: str | Path | None = None,
    C: Iterable[float] | None = None,
    by_domain: bool = False,
    random_sets: int = 20,
    seed: int = 0,
    threads: int = 1,
) -> NeuronSet:
    """Find the H-Neurons of labelled responses: the weights of the probe (eq. 4), with controls, intervals and calibration.

    Args:
        model: the model.
        pairs: a file, or rows with `question` or `messages`, `response`, `label` (1 hallucinated, 0 faithful), and
            optionally `answer`, `group` and `domain` (`read_pairs`).
        folder: to write to: neurons.parquet and README.md as a study publishes them, detection.csv (Table 1), k_sweep.csv,
            choice.csv and, with domains, domains.csv; under work/ what was measured. None writes nothing.
        tokenizer: None loads the model's own.
        labels: file of ids of right and wrong answers, for pairs without labels.
        C: the grid of C; None is that of studies, and one value leaves no choice.
        by_domain: whether to fit on each domain and test on each.
        random_sets: sets of random neurons of each kind and number, at least 10; from 19 on, the rank among them is a test.
        seed: of random neurons and resamples.
        threads: threads for the fits.

    Returns:
        The set, for `detect`, `generate` and `export`; its results are in `made_by["published"]`.

    Raises:
        HNeuronsError: one line, if a pair is wrong, if there are too few, or if no C leaves an H-Neuron.
    """
    rows = read_pairs(pairs, labels) if isinstance(pairs, str | Path) else make_pairs(pairs)
    grid = {} if C is None else {"C": list(C)}
    settings = ProbeSettings(random_seeds=random_sets, **grid)
    name = Path(pairs).stem if isinstance(pairs, str | Path) else "pairs"
    options: dict[str, Any] = {"name": name, "seed": seed, "threads": threads, "by_domain": by_domain}
    with tempfile.TemporaryDirectory() as passing:
        work = Path(folder) / "work" if folder else Path(passing)
        fitted = fit_pairs(model, tokenizer or tokenizer_beside(model), rows, work, settings, **options)
    neurons = with_results(fitted.probe.neurons, _source_of(model), fitted.scores.dataset, [fitted.scores], [])
    if folder:
        _write(Path(folder), neurons, fitted)
    return neurons


def _source_of(model: PreTrainedModel) -> dict[str, Any]:
    """Where a model comes from, if from the hub."""
    name, revision = str(model.config._name_or_path), getattr(model.config, "_commit_hash", None)
    on_hub = is_hub_id(name) and not Path(name).exists() and revision
    return {"hub": {"id": name, "revision": revision}} if on_hub else {}


def _write(folder: Path, neurons: NeuronSet, fitted: Fitted) -> None:
    publish(neurons, folder)
    table = table1({fitted.scores.model: fitted.probe.summary()}, [fitted.scores])
    store.write_text(folder / "detection.csv", table.to_csv(index=False))
    store.write_text(folder / "k_sweep.csv", sweep_table([fitted.scores]).to_csv(index=False))
    store.write_text(folder / "choice.csv", fitted.choice.to_csv(index=False))
    if len(fitted.domains):
        store.write_text(folder / "domains.csv", fitted.domains.to_csv(index=False))
