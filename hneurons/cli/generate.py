"""`hneurons generate`: replies at several α side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from hneurons.cli import common
from hneurons.cli.shown import show_detection, token_style
from hneurons.config.impact import UNTOUCHED, format_alpha, is_untouched
from hneurons.errors import HNeuronsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from hneurons.config.study import Decoding
    from hneurons.detection.live import ScoredToken
    from hneurons.generation.requests import PromptRequest
    from hneurons.neurons.neuron_set import NeuronSet

_FILE_HELP = 'lines to reply to, "-" is stdin: {"messages": […]} in the OpenAI form, {"question": …}, or a plain question'


class ManyAlphas(TyperCommand):
    """A command that reads `--alpha 0 1 3` as `--alpha 0 --alpha 1 --alpha 3`: all numbers that follow are values of α."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments after repeating --alpha before each further number."""
        spread, after_alpha = [], False
        for i, arg in enumerate(args):
            if after_alpha and _is_number(arg) and args[i - 1] != "--alpha":
                spread.append("--alpha")
            after_alpha = arg == "--alpha" or arg.startswith("--alpha=") or (after_alpha and _is_number(arg))
            spread.append(arg)
        return super().parse_args(ctx, spread)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def generate_command(
    model: common.ModelOption,
    neurons: common.NeuronsOption,
    prompts: Annotated[
        list[str] | None, typer.Argument(help="user messages; put -- before them if one is a number")
    ] = None,
    alpha: Annotated[
        list[float] | None, typer.Option(help="one or several, such as --alpha 0 1 3; 1 leaves the model untouched")
    ] = None,
    file: Annotated[Path | None, typer.Option(help=_FILE_HELP)] = None,
    score: Annotated[bool, typer.Option("--detect", help="score each token of the untouched model's reply")] = False,
    set_name: common.WhichOption = "hneurons",
    random: Annotated[int, typer.Option(min=0, help="control sets of equally many random neurons")] = 1,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy")] = 0.0,
    seed: Annotated[int, typer.Option(help="seed of the samples if temperature is not 0")] = 0,
    force: common.ForceOption = False,
    thinking: common.ThinkingOption = False,
    as_json: common.JsonOption = False,
) -> None:
    """Replies at several alpha side by side, with random neurons as their control.

    With --detect, replies of the untouched model whose tokens are scored while they are written.

    Example: `hneurons generate --model results/demo/smollm2-135m-instruct/checkpoint --neurons
    results/demo/smollm2-135m-instruct/published --alpha 0 1 3 "In which country is the city of Lyon?"`
    """
    if (file is None) == (not prompts):
        raise typer.BadParameter("give either user messages or --file")
    if alpha is None and not score:
        raise typer.BadParameter("give --alpha, such as --alpha 0 1 3, or --detect")
    alphas = list(dict.fromkeys(alpha or [1.0]))
    with common.one_line_errors():
        names = {format_alpha(value): value for value in alphas}
        if clash := set(alphas) - set(names.values()):
            raise HNeuronsError(f"alpha {clash.pop()} is shown with the same digits as another one; leave one out")
        if score and not all(map(is_untouched, alphas)):
            raise HNeuronsError(
                "--detect scores replies of the untouched model, on which the probe was trained: leave --alpha out, and "
                "give a reply of a steered model to `hneurons detect --response`"
            )
        from hneurons.config.study import Decoding

        requests = _requests(prompts, file)
        decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature)
        loaded, neuron_set = common.load_both(model, neurons)
        options: dict[str, Any] = {"seed": seed, "strict": not force}
        options["tokenizer"] = common.tokenizer_of(loaded, thinking)
        if score:
            _detect(loaded, neuron_set, requests, decoding, as_json=as_json, **options)
            return
        from hneurons.generation.side_by_side import side_by_side

        scaled = neuron_set.variant(set_name)
        replies = list(side_by_side(loaded, scaled, requests, alphas, decoding, random_sets=random, **options))
    rows = [{**requests[i % len(requests)].other_keys, **reply.as_dict()} for i, reply in enumerate(replies)]
    if as_json:
        common.echo_json(rows)
        return
    console = Console()
    for i, request in enumerate(requests):
        console.print(_table(request.asks, rows[i :: len(requests)], alphas))


def _requests(prompts: list[str] | None, file: Path | None) -> list[PromptRequest]:
    """What to reply to, from the command line, a file or stdin; all of it checked."""
    from hneurons.config.base import parse_settings
    from hneurons.data.text_files import open_text
    from hneurons.generation.requests import Unanswered, parse_prompts

    if file is None:
        texts = map(common.typed_text, dict.fromkeys(prompts or ()))
        return [parse_settings(Unanswered, {"question": text}, "user message") for text in texts]
    if str(file) == "-":
        requests = list(parse_prompts(sys.stdin, "stdin"))
    else:
        with open_text(file) as lines:
            requests = list(parse_prompts(lines, str(file)))
    if not requests:
        raise HNeuronsError(f"{file}: contains no questions")
    return list(requests)


def _detect(
    model: PreTrainedModel,
    neurons: NeuronSet,
    requests: list[PromptRequest],
    decoding: Decoding,
    *,
    tokenizer: PreTrainedTokenizerBase,
    as_json: bool,
    **options: Any,
) -> None:
    """Print replies with their scores; in a terminal, tokens of a single reply as they come."""
    from scipy.special import expit

    from hneurons.detection.live import detect_while_generating
    from hneurons.generation.tokens import TextSoFar

    console, words, text = Console(), Text(), TextSoFar(tokenizer)
    live = Live(words, console=console, transient=True, auto_refresh=False)
    streams = len(requests) == 1 and not as_json and console.is_terminal

    def show(token: ScoredToken) -> None:
        words.append(text.add(token.token_id), style=token_style(float(expit(token.logit))))
        live.refresh()

    if streams:
        options["on_token"] = show
        live.start()
    try:
        detections = dict(detect_while_generating(model, neurons, requests, decoding, tokenizer=tokenizer, **options))
    finally:
        live.stop()
    if as_json:
        common.echo_json([{**request.other_keys, **detections[i].as_dict()} for i, request in enumerate(requests)])
        return
    for i in range(len(requests)):
        show_detection(console, detections[i], neurons)


def _table(prompt: str, replies: list[dict[str, Any]], alphas: list[float]) -> Table:
    """A column per α, a row per set of neurons. The untouched reply is repeated in every row."""
    table = Table(title=Text(prompt), title_justify="left", show_lines=True)
    table.add_column("")
    for alpha in alphas:
        table.add_column(f"α = {format_alpha(alpha)}" + (", untouched" if is_untouched(alpha) else ""), ratio=1)
    texts = {(reply["neurons"], reply["alpha"]): reply["text"] + " …" * reply["truncated"] for reply in replies}
    for name in [name for name in dict.fromkeys(name for name, _ in texts) if name != UNTOUCHED] or [UNTOUCHED]:
        cells = [texts[UNTOUCHED if is_untouched(alpha) else name, alpha] for alpha in alphas]
        table.add_row(Text(name), *map(Text, cells))
    return table
