"""`hneurons fit`: a set of neurons from a user's own labelled responses."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hneurons.cli.common import JsonOption, ModelOption, ThinkingOption, echo_json, one_line_errors, tokenizer_of


def fit_command(
    out: Annotated[Path, typer.Argument(help="folder to write to")],
    model: ModelOption,
    pairs: Annotated[Path, typer.Option(help="labelled responses: .jsonl, .json, .csv or .parquet (docs/fit.md)")],
    C: Annotated[list[float] | None, typer.Option("--C", help="grid of C; one value is taken as it is")] = None,
    labels: Annotated[Path | None, typer.Option(help='{"t": [ids], "f": [ids]} for pairs without labels')] = None,
    domains: Annotated[bool, typer.Option("--domains", help="fit on each domain, test on each")] = False,
    random: Annotated[int, typer.Option(min=10, help="sets of random neurons of each kind and number")] = 20,
    seed: Annotated[int, typer.Option(help="of random neurons and resamples")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="threads for the fits")] = 2,
    thinking: ThinkingOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find the H-Neurons of your own labelled responses, with controls, intervals, calibration and a card.

    Example: `hneurons fit --model results/demo/smollm2-135m-instruct/checkpoint --pairs pairs.jsonl found`
    """
    with one_line_errors():
        from hneurons.detection.fit import check_pairs
        from hneurons.detection.pairs import read_pairs

        # Before the slow imports.
        check_pairs(read_pairs(pairs, labels))
        from transformers.utils import logging

        from hneurons.models.load import load_model
        from hneurons.report.fitted import fit

        logging.disable_progress_bar()
        loaded = load_model(model)
        options: dict[str, Any] = {"labels": labels, "C": C, "by_domain": domains, "seed": seed, "threads": threads}
        options["random_sets"] = random
        neurons = fit(loaded, pairs, out, tokenizer=tokenizer_of(loaded, thinking), **options)
    (scores,) = neurons.made_by["published"]["detection"].values()
    summary = {"h_neurons": int(neurons.selected.sum()), "C": neurons.made_by["C"], **scores, "written": str(out)}
    if as_json:
        echo_json(summary)
        return
    typer.echo("\n".join(_lines(summary, neurons.made_by["chosen_by"])))


def _lines(summary: dict[str, Any], chosen_by: str) -> list[str]:
    from hneurons.stats.estimates import format_interval

    def interval(name: str) -> str:
        return format_interval(summary[name], *(summary[f"{name}_interval"] or (None, None)))

    return [
        f"{summary['h_neurons']} H-Neurons at C = {summary['C']:g}, chosen by {chosen_by}",
        f"AUROC in folds over groups: {interval('auroc')}, of {summary['n_hallucinated']} hallucinated and "
        f"{summary['n_faithful']} faithful",
        f"minus random neurons: {interval('lead')}",
        f"not beaten: {'; '.join(summary['not_beaten']) or 'none of the baselines'}",
        f"written: {summary['written']}/neurons.parquet and README.md",
    ]
