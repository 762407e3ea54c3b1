"""`hneurons detect`: is this answer made up?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from hneurons.cli.common import ForceOption, ModelOption, NeuronsOption, load_both, one_line_errors
from hneurons.errors import HNeuronsError

if TYPE_CHECKING:
    from hneurons.detection.detector import Detection, DetectionRequest

# So many are asked, scored and printed before the next ones are read.
_AT_ONCE = 32
# Okabe and Ito's vermilion and blue: made up, faithful.
_COLOURS = ((213, 94, 0), (0, 114, 178))


def detect_command(
    model: ModelOption,
    neurons: NeuronsOption,
    file: Annotated[
        Path | None,
        typer.Argument(
            help='lines to judge, "-" is stdin: {"question": …, "response": …, "answer": …} or a plain question'
        ),
    ] = None,
    question: Annotated[str | None, typer.Option(help="what was asked")] = None,
    response: Annotated[str | None, typer.Option(help="what was answered; left out, the model answers")] = None,
    answer: Annotated[str | None, typer.Option(help="the part of the response that carries its claim")] = None,
    html: Annotated[Path | None, typer.Option(help="write a page with every token and the neurons behind it")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="of the model's own answers")] = 64,
    most: Annotated[int, typer.Option(min=1, help="neurons to name, for the answer and for each token")] = 5,
    force: ForceOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, one per question, everything unrounded")] = False,
) -> None:
    """How likely is an answer made up? For the whole, for each token, and for the neurons behind them.

    Reads one question, a file of many, or stdin. The probe was trained on the words that carry a claim: name them with
    --answer where you can.

    Example: `hneurons detect --model results/demo/smollm2-135m-instruct/checkpoint --neurons
    results/demo/smollm2-135m-instruct/published --question "In which country is the city of Lyon?"`
    """
    if (file is None) == (question is None):
        raise typer.BadParameter("give either --question or a file of questions (- is stdin)")
    if question is None and (response is not None or answer is not None):
        raise typer.BadParameter("--response and --answer belong to --question; in a file they are keys of a line")
    with one_line_errors(), ExitStack() as stack:
        from hneurons.detection.detector import detect_many, make_request, parse_requests
        from hneurons.models.tokenizer import tokenizer_beside

        if question is not None:
            asked: Iterator[DetectionRequest] = iter(
                [make_request({"question": question, "response": response, "answer": answer})]
            )
        else:
            stdin = str(file) == "-"
            lines = sys.stdin if stdin else stack.enter_context(open(Path(str(file)), encoding="utf-8"))
            asked = parse_requests(lines, "stdin" if stdin else str(file))
        first = list(islice(asked, _AT_ONCE))
        if not first:
            raise HNeuronsError(f"{file}: no questions in it")
        loaded, chosen = load_both(model, neurons)
        console, kept = Console(), []
        options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "strict": not force}
        # Read once, however many there are.
        options["tokenizer"] = tokenizer_beside(loaded)
        while first:
            found = detect_many(loaded, chosen, first, **options)
            for one, detection in zip(first, found, strict=True):
                if as_json:
                    typer.echo(json.dumps({**one.other_keys, **detection.as_dict(most)}, ensure_ascii=False))
                else:
                    _print(console, detection, chosen.calibration, most)
                kept += [detection] if html else []
            first = list(islice(asked, _AT_ONCE))
        if html is not None:
            from hneurons.report.detections import write_detections_page

            write_detections_page(html, kept, chosen, most)
            typer.echo(f"written: {html}", err=True)


def _shade(probability: float) -> str:
    """The background of a token: the further from one half, the stronger."""
    colour = _COLOURS[0] if probability >= 0.5 else _COLOURS[1]
    return "white on rgb({},{},{})".format(*(round(c * abs(2 * probability - 1)) for c in colour))


def _print(console: Console, found: Detection, calibration: Mapping[str, Mapping[str, Any]], most: int) -> None:
    console.print(Text(found.question, style="bold"))
    words = Text()
    for text, p, mine in zip(found.tokens, found.token_probabilities, found.answer, strict=True):
        words.append(text, style=_shade(float(p)) + (" underline" if mine else ""))
    console.print(words)
    read = "the answer" if found.answer_given else "its highest tokens; name the claim with --answer for a better one"
    console.print(f"p(made up) = {found.probability:.2f} (underlined: {read})", markup=False, highlight=False)
    for name, known in islice(calibration.items(), 1):
        near = min(known["bins"], key=lambda b: abs(b["predicted"] - found.probability))
        low, high = near["interval"]
        console.print(
            f"of {near['n']} named answers of {name} with about that, {near['predicted']:.2f}, "
            f"{near['observed']:.2f} [{low:.2f}, {high:.2f}] were made up",
            markup=False,
            highlight=False,
        )
    named = [f"{n['layer']}:{n['neuron']} {n['contribution']:+.2f}" for n in found.strongest(most=most)]
    console.print(f"strongest neurons (layer:neuron, log-odds): {', '.join(named)}\n", markup=False, highlight=False)
