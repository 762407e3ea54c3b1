"""`hneurons generate`: replies at several α side by side."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from hneurons.cli import common
from hneurons.config.impact import UNTOUCHED, format_alpha, is_untouched
from hneurons.errors import HNeuronsError


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
    prompts: Annotated[list[str], typer.Argument(help="user messages; put -- before them if one is a number")],
    model: common.ModelOption,
    neurons: common.NeuronsOption,
    alpha: Annotated[list[float], typer.Option(help="one or several, such as --alpha 0 1 3; 1 leaves the model untouched")],
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

    Example: `hneurons generate --model results/demo/smollm2-135m-instruct/checkpoint --neurons
    results/demo/smollm2-135m-instruct/published --alpha 0 1 3 "In which country is the city of Lyon?"`
    """
    with common.one_line_errors():
        names = {format_alpha(value): value for value in alpha}
        if clash := set(alpha) - set(names.values()):
            raise HNeuronsError(f"alpha {clash.pop()} is shown with the same digits as another one; leave one out")
        from hneurons.config.study import Decoding
        from hneurons.generation.side_by_side import side_by_side

        prompts = list(map(common.typed_text, prompts))
        decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature)
        loaded, neuron_set = common.load_both(model, neurons)
        options: dict[str, Any] = {"random_sets": random, "seed": seed, "strict": not force}
        options["tokenizer"] = common.tokenizer_of(loaded, thinking)
        scaled = neuron_set.variant(set_name)
        replies = [reply.as_dict() for reply in side_by_side(loaded, scaled, prompts, alpha, decoding, **options)]
    if as_json:
        common.echo_json(replies)
        return
    console = Console()
    for prompt in dict.fromkeys(prompts):
        console.print(_table(prompt, [reply for reply in replies if reply["prompt"] == prompt], list(dict.fromkeys(alpha))))


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
