"""A detection in the terminal."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from hneurons.detection.detected import Detection, NoDetection
    from hneurons.neurons.neuron_set import NeuronSet

# Okabe and Ito's vermilion for hallucinated, blue for faithful.
_COLOURS = ((213, 94, 0), (0, 114, 178))
# Log-probability of a token below which a response that was supplied is not taken for the model's own: 1 in 100.
_HARDLY_SAID = -4.6


def token_style(probability: float) -> str:
    """The style of a token: the background is the stronger, the further its probability is from 0.5."""
    colour = _COLOURS[0] if probability >= 0.5 else _COLOURS[1]
    return "white on rgb({},{},{})".format(*(round(c * abs(2 * probability - 1)) for c in colour))


def show_detection(
    console: Console,
    detection: Detection | NoDetection,
    neuron_set: NeuronSet,
    max_neurons: int = 5,
    *,
    supplied: bool = False,
) -> None:
    """Print a detection in the terminal: its tokens shaded, and lines about the response.

    Args:
        console: where to.
        detection: what was detected, or why nothing was.
        neuron_set: the set whose probe it is.
        max_neurons: neurons to list.
        supplied: whether the response is not the model's own.
    """
    from hneurons.detection.detected import NoDetection
    from hneurons.stats.estimates import format_interval

    console.print(Text(detection.question, style="bold"))
    if isinstance(detection, NoDetection):
        console.print(f"no probability: {detection.why}\n", markup=False, highlight=False)
        return
    words = Text()
    for text, p, in_answer in zip(detection.tokens, detection.token_probabilities, detection.answer, strict=True):
        words.append(text, style=token_style(float(p)) + (" underline" if in_answer else ""))
    console.print(words)
    hint = "the highest tokens; name the claim with detect --answer for a better estimate"
    underlined = "the answer" if detection.answer_given else hint
    lines = [f"p(hallucinated) = {detection.probability:.2f} (underlined: {underlined})"]
    if detection.combined_probability is not None:
        mean, minimum = detection.confidence
        lines.append(
            f"with the model's confidence: {detection.combined_probability:.2f} (log-probability of these tokens: mean "
            f"{mean:.2f}, minimum {minimum:.2f})"
        )
        if supplied and minimum < _HARDLY_SAID:
            lines.append(
                f"the model itself would hardly say this (its least likely token: {math.exp(minimum):.1g}), and the probe "
                "was trained on what models say: go by the probability with the confidence"
            )
    for name, curve in islice(neuron_set.calibration.items(), 1):
        nearest = min(curve.bins, key=lambda row: abs(row.predicted - detection.probability))
        observed = format_interval(nearest.observed, *(nearest.interval or (None, None)))
        lines.append(
            f"calibration: of the {nearest.n} test answers in {name} to which the probe gave about "
            f"{nearest.predicted:.2f}, a share of {observed} was hallucinated"
        )
    strongest = detection.strongest(count=max_neurons)
    neurons = [f"{n['layer']}:{neuron_set.place(n['layer'], n['neuron'])} {n['contribution']:+.2f}" for n in strongest]
    lines.append(f"strongest neurons (layer:neuron, log-odds): {', '.join(neurons)}\n")
    for line in lines:
        console.print(line, markup=False, highlight=False)
