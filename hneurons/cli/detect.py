"""`hneurons detect`: is this answer hallucinated?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from hneurons.cli.common import (
    ForceOption,
    ModelOption,
    NeuronsOption,
    ThinkingOption,
    json_text,
    load_both,
    one_line_errors,
    tokenizer_of,
    typed_text,
)
from hneurons.cli.shown import show_detection
from hneurons.errors import HNeuronsError

if TYPE_CHECKING:
    from hneurons.detection.requests import DetectionRequest

# Requests that are scored and printed before the next ones are read.
_BATCH_SIZE = 32
_FILE_HELP = 'lines to judge, "-" is stdin: {"question": …, "response": …, "answer": …} or a plain question'


def detect_command(
    model: ModelOption,
    neurons: NeuronsOption,
    file: Annotated[Path | None, typer.Argument(help=_FILE_HELP)] = None,
    question: Annotated[str | None, typer.Option(help="the question")] = None,
    response: Annotated[str | None, typer.Option(help="the response to it; if left out, the model answers")] = None,
    answer: Annotated[str | None, typer.Option(help="the part of the response that carries its claim")] = None,
    html: Annotated[Path | None, typer.Option(help="also write a page that shows the neurons behind every token")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="limit of the model's own answers")] = 64,
    max_neurons: Annotated[
        int, typer.Option("--most", min=1, help="neurons to list for the answer and for each token")
    ] = 5,
    force: ForceOption = False,
    thinking: ThinkingOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON line per question, unrounded")] = False,
) -> None:
    """How likely is an answer hallucinated? For the response, each token, and the neurons behind them.

    Reads one question, a file of many, or stdin. The probe was trained on the words that carry a claim:
    name them with --answer where you can.

    Example: `hneurons detect --model results/demo/smollm2-135m-instruct/checkpoint --neurons
    results/demo/smollm2-135m-instruct/published --question "In which country is the city of Lyon?"`
    """
    if (file is None) == (question is None):
        raise typer.BadParameter("give either --question or a file of questions (- is stdin)")
    if question is None and (response is not None or answer is not None):
        raise typer.BadParameter("--response and --answer belong to --question; in a file they are keys of a line")
    if file is not None and " " in str(file) and not file.exists():
        raise typer.BadParameter(f"{str(file)!r} does not exist; give a question with --question")
    with one_line_errors():
        from hneurons.detection.detected import NoDetection
        from hneurons.detection.detector import detect_many
        from hneurons.detection.requests import make_request, parse_requests

        if question is not None:
            options_given = {"question": question, "response": response, "answer": answer}
            keys = {key: None if text is None else typed_text(text) for key, text in options_given.items()}
            requests: Iterator[DetectionRequest] = iter([make_request(keys)])
        else:
            requests = parse_requests(sys.stdin, "stdin") if str(file) == "-" else _requests_of(Path(str(file)))
        batch = list(islice(requests, _BATCH_SIZE))
        if not batch:
            raise HNeuronsError(f"{file}: contains no questions")
        loaded, neuron_set = load_both(model, neurons)
        console, on_page, without_score = Console(), [], 0
        options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "strict": not force}
        # The tokenizer is read once for all batches.
        options["tokenizer"] = tokenizer_of(loaded, thinking)
        while batch:
            for request, result in zip(batch, detect_many(loaded, neuron_set, batch, **options), strict=True):
                if isinstance(result, NoDetection):
                    if question is not None:
                        raise HNeuronsError(f"{question!r}: {result.why}")
                    without_score += 1
                    row = result.as_dict()
                else:
                    row = result.as_dict(max_neurons)
                    on_page += [result] if html else []
                if as_json:
                    typer.echo(json_text({**request.other_keys, **row}))
                else:
                    show_detection(console, result, neuron_set, max_neurons, supplied=request.response is not None)
            batch = list(islice(requests, _BATCH_SIZE))
        if without_score:
            typer.echo(f"without a probability: {without_score} of the questions; their lines say why", err=True)
        if html is not None:
            from hneurons.report.detections import write_detections_page

            write_detections_page(html, on_page, neuron_set, max_neurons)
            typer.echo(f"written: {html}", err=True)


def _requests_of(file: Path) -> Iterator[DetectionRequest]:
    """The requests of a file, all checked before the model is loaded."""
    from hneurons.data.text_files import open_text
    from hneurons.detection.requests import parse_requests

    with open_text(file) as lines:
        return iter(list(parse_requests(lines, str(file))))
