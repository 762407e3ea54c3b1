"""`hneurons generate`: a prompt at several α side by side."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from hneurons.cli.common import (
    ForceOption,
    JsonOption,
    ModelOption,
    NeuronsOption,
    WhichOption,
    echo_json,
    load_both,
    one_line_errors,
)


class ManyAlphas(TyperCommand):
    """Takes `--alpha 0 1 3` for `--alpha 0 --alpha 1 --alpha 3`, as far as numbers follow."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
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
    prompts: Annotated[list[str], typer.Argument(help="what the user says; after -- where one is a number")],
    model: ModelOption,
    neurons: NeuronsOption,
    alpha: Annotated[list[float], typer.Option(help="one or several, as --alpha 0 1 3; 1 is untouched")],
    which: WhichOption = "hneurons",
    random: Annotated[int, typer.Option(min=0, help="sets of as many random neurons beside them: the control")] = 1,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy")] = 0.0,
    seed: Annotated[int, typer.Option(help="of the samples, where temperature is not 0")] = 0,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Replies at several alpha side by side, with random neurons as their control.

    Example: `hneurons generate --model results/demo/smollm2-135m-instruct/checkpoint --neurons
    results/demo/smollm2-135m-instruct/published --alpha 0 1 3 "In which country is the city of Lyon?"`
    """
    with one_line_errors():
        from hneurons.config.study import Decoding
        from hneurons.generation.side_by_side import side_by_side

        decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature)
        loaded, chosen = load_both(model, neurons)
        options: dict[str, Any] = {"random_sets": random, "seed": seed, "strict": not force}
        found = [one.as_dict() for one in side_by_side(loaded, chosen.variant(which), prompts, alpha, decoding, **options)]
    if as_json:
        echo_json(found)
        return
    console = Console()
    for prompt in dict.fromkeys(prompts):
        console.print(_table(prompt, [one for one in found if one["prompt"] == prompt], list(dict.fromkeys(alpha))))


def _table(prompt: str, found: list[dict[str, Any]], alphas: list[float]) -> Table:
    """A column per α, a row per set of neurons; α = 1 is untouched in every row."""
    table = Table(title=Text(prompt), title_justify="left", show_lines=True)
    table.add_column("")
    for alpha in alphas:
        table.add_column(f"α = {alpha:g}" + (", untouched" if alpha == 1 else ""), ratio=1)
    replies = {(one["neurons"] if one["alpha"] != 1 else "", one["alpha"]): one for one in found}
    names = list(dict.fromkeys(name for name, _ in replies if name)) or ["untouched"]
    for name in names:
        of_name = [replies[("" if alpha == 1 else name, alpha)] for alpha in alphas]
        cut = [one["text"] + (" …" if one["finish_reason"] == "length" else "") for one in of_name]
        table.add_row(Text(name), *map(Text, cut))
    return table
