"""A study's front page: from its questions to its answers, every number with its control, its interval and its n."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hneurons.config.paper import Paper
from hneurons.config.study import Study
from hneurons.judges.cache import ReplyCache
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.planning.jobs import timing_rows
from hneurons.report.grids import grids
from hneurons.report.html import Grid, frame_rows, make_grid, number_cell, svg_data_url, write_html
from hneurons.report.in_short import in_short

# Of these the results depend on the version.
_PACKAGES = ("hneurons", "torch", "transformers", "scikit-learn", "scipy", "statsmodels", "numpy", "pandas", "snakemake")


@dataclass(frozen=True)
class PageFigure:
    """A figure of the page. narrow: readable on a phone as it is; others are scrolled."""

    name: str
    title: str
    caption: str
    picture: str
    narrow: bool = False


_TITLES = {
    "table1": "Table 1: the probe and its baselines",
    "neurons": "The neurons: layers, stability, calibration",
    "choice": "The choice of C",
    "figure3": "Figure 3: compliance at every α",
    "utility": "The cost of scaling",
    "figure4": "Figure 4: transfer and drift",
}


def front_page(
    out: str | Path,
    settings: Mapping[str, Any],
    tables: Mapping[str, str | Path],
    figures: Mapping[str, str | Path],
    captions: Mapping[str, str | Path],
    published: Sequence[str | Path],
    manifests: Sequence[Mapping[str, Any]],
    timings: str | Path,
    paper: Paper,
) -> None:
    """Write the page from what a study made: tables (CSV) and figures (SVG) by name, as many as there are.

    captions: what figures and tables show, as the workflow's own report says it (reStructuredText), by the same names.
    settings: of the study, all that decide its results. published: each model's neurons. manifests: what pins the models,
    partners too. timings: the folder of the jobs' run times; those that ran elsewhere or were made before are not in it.
    """
    study = Study.model_validate(settings)
    frames = {name: pd.read_csv(path) for name, path in tables.items()}
    sets = [NeuronSet.load(path) for path in published]
    times = run_times(timings)
    spent = judge_spending(study)
    notes = _counted(frames, sets)
    said = {name: _plain(path) for name, path in captions.items()}
    write_html(
        out,
        "front.html.jinja",
        study=study.study,
        models=study.models,
        answers=in_short(study, frames, sets, paper),
        figures={
            name: PageFigure(
                name, _TITLES[name], f"{said[name]} {notes.get(name, '')}".strip(), svg_data_url(path), name == "choice"
            )
            for name, path in figures.items()
        },
        grids=grids(study, frames, sets),
        captions=said,
        times=_times_grid(times),
        hours=sum(row["seconds"] for row in times) / 3600,
        jobs=sum(row["jobs"] for row in times),
        spent=spent,
        settings=yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True),
        packages={name: version(name) for name in _PACKAGES},
        pinned=_pinned_grid(manifests),
    )


def _plain(path: str | Path) -> str:
    return " ".join(Path(path).read_text(encoding="utf-8").replace("``", "").split())


def _counted(frames: Mapping[str, pd.DataFrame], sets: Sequence[NeuronSet]) -> dict[str, str]:
    """The numbers that captions owe their reader: how many answers, items, neurons and controls."""
    found = {"neurons": "n: " + "; ".join(f"{s.made_by['model']} {int(s.selected.sum())} H-Neurons" for s in sets) + "."}
    if (table := frames.get("table1")) is not None:
        found["table1"] = _both_sides(table)
        if len(seeds := table["random_seeds"].dropna()):
            found["table1"] += f" Control: {int(seeds.max())} draws of as many random neurons."
    if (table := frames.get("choice")) is not None:
        found["choice"] = f"n: {table['selection_n'].max():.0f} held-out answers"
        found["choice"] += f", {table['suppressed_n'].max():.0f} held-out questions." if "suppressed_n" in table else "."
    if (table := frames.get("figure3")) is not None:
        said = {_of_model(table, row, "benchmark"): row["items"] for row in frame_rows(table)}
        controls = {row["neurons"] for row in frame_rows(table) if row["neurons"].startswith("random")}
        found["figure3"] = f"n, items at each α: {_listed(said)}. Control: {len(controls)} random sets."
    if (table := frames.get("utility")) is not None:
        said = {_of_model(table, row, "measure"): int(row["n"]) for row in frame_rows(table.dropna(subset=["n"]))}
        found["utility"] = f"n, test questions for accuracy, H-Neurons for the CETT ratio: {_listed(said)}."
    if (table := frames.get("transfer")) is not None:
        found["figure4"] = _both_sides(table)
    return found


def _both_sides(table: pd.DataFrame) -> str:
    sizes = {
        _of_model(table, row, "dataset"): f"{row['n_hallucinated']} + {row['n_faithful']}" for row in frame_rows(table)
    }
    return f"n, hallucinated + faithful: {_listed(sizes)}."


def _of_model(table: pd.DataFrame, row: Mapping[str, Any], name: str) -> str:
    """What a number is of; with several models, of which."""
    return f"{row['model']}, {row[name]}" if table["model"].nunique() > 1 else str(row[name])


def _listed(counts: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {n}" for name, n in counts.items())


def run_times(folder: str | Path) -> list[dict[str, Any]]:
    """Seconds, jobs and peak memory by model and stage, from the benchmark files of the workflow."""
    found: dict[tuple[str, str], dict[str, Any]] = defaultdict(
        lambda: {"jobs": 0, "seconds": 0.0, "longest": 0.0, "mb": 0.0}
    )
    for path in sorted(Path(folder).rglob("*.tsv")):
        parts = path.relative_to(folder).with_suffix("").parts
        # {model}/{stage}/… ; questions, items, tables and figures are all models'.
        own = parts[0] not in ("questions", "items") and len(parts) > 1
        key = (parts[0], parts[1]) if own else ("all", parts[0])
        for row in timing_rows(path):
            seconds = float(row["s"])
            line = found[key]
            line["jobs"] += 1
            line["seconds"] += seconds
            line["longest"] = max(line["longest"], seconds)
            # A job of less than a second has none.
            line["mb"] = max(line["mb"], float(row["max_rss"]) if row["max_rss"] not in ("", "-", "NA") else 0.0)
    return [{"model": model, "stage": stage, **line} for (model, stage), line in sorted(found.items())]


def _times_grid(rows: Sequence[Mapping[str, Any]]) -> Grid:
    return make_grid(
        rows,
        {
            "model": lambda row: row["model"],
            "stage": lambda row: row["stage"],
            "jobs": lambda row: number_cell(row["jobs"], 0),
            "minutes, all": lambda row: number_cell(row["seconds"] / 60, 1),
            "minutes, longest": lambda row: number_cell(row["longest"] / 60, 1),
            "peak memory, GB": lambda row: number_cell(row["mb"] / 1e3, 1),
        },
    )


def judge_spending(study: Study) -> dict[str, Any]:
    """What the LLM judge was paid: calls, tokens and dollars; all zero where rules judged."""
    llm = study.judges.llm
    if llm is None or not Path(study.judges.cache).is_file():
        return {"calls": 0, "dollars": 0.0, "judge": llm.model if llm else "rules"}
    cache = ReplyCache(study.judges.cache)
    calls, tokens_in, tokens_out = cache.spent(study.study)
    cache.close()
    return {"calls": calls, "dollars": llm.price(calls, tokens_in, tokens_out), "judge": llm.model}


def _pinned_grid(manifests: Sequence[Mapping[str, Any]]) -> Grid:
    def source(row: Mapping[str, Any]) -> str:
        told = {
            key: value for key, value in row["source"].items() if key in ("hub", "wheel", "folder", "finetune") and value
        }
        return "; ".join(
            f"{key}: {value.get('id') or value.get('package') or value.get('of')}"
            if isinstance(value, dict)
            else f"{key}: {value}"
            for key, value in told.items()
        )

    return make_grid(
        manifests,
        {
            "model": lambda row: row["model"],
            "source": source,
            "revision": lambda row: row["revision"],
            "layers × d_ff": lambda row: f"{row['layers']} × {row['d_ff']:,}",
            "dtype": lambda row: row["source"]["dtype"],
        },
    )
