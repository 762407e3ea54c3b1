"""The fit to labelled pairs, compared with hprobes on the same pairs: time, peak memory, and AUROC on held-out pairs.

Both are given the training answers of a study and its C, in processes of their own. hprobes must hold pairs out of its own
training: two here. Held-out answers are scored by the weights of each on the same CETT, that of the answer tokens; hprobes'
own score of them, which averages over the entire response, is printed too. Install it into a folder first:

    pip install --no-deps --target PEERS hprobes==0.11.0
    python perf/peers.py --peers PEERS [--results results/demo/smollm2-135m-instruct] [--repeats 3]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Peak, report

from hneurons.detection.study_pairs import study_pairs
from hneurons.neurons.neuron_set import NeuronSet

_WAYS = {
    "project": "CETT and one fit: this project",
    "hprobes": "hprobes",
    "all": "hn.fit, with controls and folds: this project",
}


def answer_in(tokenizer: Any, pair: dict[str, Any]) -> tuple[list[int], list[bool]]:
    """Token ids of a pair's response, and which of them are its answer."""
    from hneurons.generation.control_tokens import text_ids
    from hneurons.generation.tokens import token_mask, token_offsets

    ids = text_ids(tokenizer, pair["response"])
    return ids, token_mask(token_offsets(tokenizer, ids)[1], pair["answer_start"], pair["answer_end"])


def sequences_of(model: Any, tokenizer: Any, pairs: list[dict[str, Any]]) -> list[Any]:
    """Token ids and regions of the pairs."""
    from hneurons.cett.regions import token_regions
    from hneurons.config.study import CettSettings
    from hneurons.generation.prompts import end_of_turn, ends_of_reply, prompt_ids

    end = end_of_turn(tokenizer, ends_of_reply(model, tokenizer))
    sequences = []
    for pair in pairs:
        ids, mask = answer_in(tokenizer, pair)
        prompt = prompt_ids(tokenizer, pair["question"])
        sequences.append(token_regions(prompt, [*ids, end], [*mask, False], CettSettings()))
    return sequences


def regions_cett(model: Any, tokenizer: Any, pairs: list[dict[str, Any]]) -> np.ndarray:
    """CETT of answer tokens and other tokens, [pairs, 2, layers · d_ff]."""
    from hneurons.cett.measure import cett

    values = dict(cett(model, sequences_of(model, tokenizer, pairs)))
    return np.stack([values[i].reshape(2, -1) for i in range(len(pairs))])


def fit_project(model: Any, tokenizer: Any, pairs: list[dict[str, Any]], C: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Columns with a weight, their weights, and the intercept."""
    from hneurons.cett.columns import ArrayColumns
    from hneurons.probe.estimator import fit_paths
    from hneurons.probe.l1_path import Problem

    X = regions_cett(model, tokenizer, pairs)
    labels = np.array([[pair["label"], 0] for pair in pairs])
    problem = Problem(labels.reshape(-1), np.ones(labels.size))
    columns = ArrayColumns(X.reshape(labels.size, -1).astype(np.float16))
    fit = fit_paths(columns, [problem], [C], "l1", "free", memory_gb=4.0, threads=1, progress=False).fits[0][0]
    return fit.columns, fit.weights, fit.intercept


def fit_hprobes(model: Any, tokenizer: Any, pairs: list[dict[str, Any]], C: float) -> Any:
    """A fitted HProbes. It compares texts of tokens, and its labels say whether the answer is right."""
    from hprobes import HProbes

    rows = []
    for pair in pairs:
        tokens = [tokenizer.decode([i]) for i, in_answer in zip(*answer_in(tokenizer, pair), strict=True) if in_answer]
        rows.append({**pair, "answer_tokens": tokens, "judge": "false" if pair["label"] else "true"})
    return HProbes(model, tokenizer, l1_C=C, validation_split=2, batch_size=8).fit_from_responses(rows)


def child(way: str, folder: Path, job: Path) -> None:
    """Fit in this process, and print what was measured as JSON."""
    import hneurons as hn
    from hneurons.models.tokenizer import tokenizer_beside

    task = json.loads((job / "task.json").read_text())
    model = hn.load_model(folder / "checkpoint")
    tokenizer = tokenizer_beside(model)
    extra: dict[str, Any] = {}
    with contextlib.redirect_stdout(sys.stderr), Peak() as peak:
        begun = time.perf_counter()
        if way == "project":
            columns, weights, intercept = fit_project(model, tokenizer, task["train"], task["C"])
        elif way == "hprobes":
            probe = fit_hprobes(model, tokenizer, task["train"], task["C"])
        else:
            neurons = hn.fit(model, task["train"], C=[task["C"]])
        seconds = time.perf_counter() - begun
    if way == "hprobes":
        with contextlib.redirect_stdout(sys.stderr):
            rows = [{**pair, "judge": "false" if pair["label"] else "true"} for pair in task["held_out"]]
            extra["own_auroc"] = probe.score_on_responses(rows)["auroc"]
        coefficients = probe._clf.coef_[0]
        used = np.flatnonzero(coefficients)
        columns, weights, intercept = probe._top_k_idx[used], coefficients[used], float(probe._clf.intercept_[0])
    elif way == "all":
        widths = model.config.intermediate_size
        columns, weights = neurons.layers * widths + neurons.neurons, neurons.weights
        intercept = neurons.made_by["intercept"]
    np.savez(job / f"{way}.npz", columns=columns, weights=weights, intercept=intercept)
    print(json.dumps({"seconds": seconds, "gb": peak.gb, "h_neurons": int((weights > 0).sum()), **extra}))


def run(way: str, arguments: argparse.Namespace, job: Path) -> dict[str, Any]:
    """Fit in a process of its own, which alone sees the peer's package."""
    command = [sys.executable, __file__, "--results", str(arguments.results), "--way", way, "--job", str(job)]
    path = (
        [str(arguments.peers), os.environ.get("PYTHONPATH", "")] if way == "hprobes" else [os.environ.get("PYTHONPATH", "")]
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def held_out(folder: Path, job: Path, pairs: list[dict[str, Any]]) -> tuple[dict[str, str], str]:
    """AUROC of the weights of each way on CETT of the answer tokens of held-out pairs, and the difference."""
    import hneurons as hn
    from hneurons.models.tokenizer import tokenizer_beside
    from hneurons.stats.auroc import stratified_auroc
    from hneurons.stats.estimates import Groups, format_interval

    model = hn.load_model(folder / "checkpoint")
    X, labels = regions_cett(model, tokenizer_beside(model), pairs)[:, 0], np.array([pair["label"] for pair in pairs])
    groups, one_stratum = Groups.from_names([pair["group"] for pair in pairs]), np.zeros(len(labels), dtype=int)
    areas = {}
    for way in _WAYS:
        fit = np.load(job / f"{way}.npz")
        logits = X[:, fit["columns"]] @ fit["weights"] + fit["intercept"]
        areas[way] = stratified_auroc(labels, logits, groups, one_stratum)
    lead = areas["project"] - areas["hprobes"]
    shown = {way: format_interval(area.value, *(area.share_interval() or (None, None))) for way, area in areas.items()}
    return shown, format_interval(lead.value, *(lead.interval() or (None, None)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="folder into which hprobes was installed")
    parser.add_argument("--results", type=Path, default=Path("results/demo/smollm2-135m-instruct"))
    parser.add_argument("--dataset", default="cities")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=_WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        child(arguments.way, arguments.results, arguments.job)
        return
    if arguments.peers is None:
        parser.error("--peers is needed: pip install --no-deps --target PEERS hprobes==0.11.0")
    train, test = (list(study_pairs(arguments.results, arguments.dataset, split)) for split in ("train", "test"))
    C = NeuronSet.load(arguments.results / "probe/neurons.parquet").made_by["C"]
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in _WAYS}
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder)
        (job / "task.json").write_text(json.dumps({"train": train, "held_out": test, "C": C}))
        for _ in range(arguments.repeats):
            for way in ("project", "hprobes"):
                runs[way].append(run(way, arguments, job))
        runs["all"].append(run("all", arguments, job))
        aurocs, lead = held_out(arguments.results, job, test)
    lines = [("pairs", f"{len(train)} to fit, {len(test)} held out; C = {C:g}")]
    for way, label in _WAYS.items():
        seconds, gb = ([result[name] for result in runs[way]] for name in ("seconds", "gb"))
        own_score = runs[way][-1].get("own_auroc")
        text = f"{statistics.median(seconds):.1f} s [{min(seconds):.1f}, {max(seconds):.1f}], peak {max(gb):.2f} GB"
        text += f", {runs[way][-1]['h_neurons']} H-Neurons, AUROC {aurocs[way]}"
        lines.append(
            (
                label,
                text + (f" (by its own score, over entire responses: {own_score:.3f})" if own_score is not None else ""),
            )
        )
    ratios = [a["seconds"] / b["seconds"] for a, b in zip(runs["hprobes"], runs["project"], strict=True)]
    lines.append(
        ("time of hprobes / this project", f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")
    )
    lines.append(("AUROC, this project minus hprobes", lead))
    report("peers", lines, {"runs": runs, "auroc": aurocs, "lead": lead, "hneurons": version("hneurons")})


if __name__ == "__main__":
    main()
