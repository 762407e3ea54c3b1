"""A study's front page: its questions and answers, each number with its control, its interval and its n."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hneurons.config.paper import Paper
from hneurons.config.study import Study
from hneurons.detection.results import METHODS, MIN_SHARE_USED
from hneurons.judges.cache import ReplyCache
from hneurons.models.widths import Widths
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.planning.jobs import timing_rows
from hneurons.probe.classifiers import RANDOM_L1
from hneurons.report.grids import grids
from hneurons.report.html import Grid, frame_rows, make_grid, number_cell, svg_data_url, write_html
from hneurons.report.in_short import in_short
from hneurons.report.tables.detection import not_beaten

# Packages whose version the results depend on.
_PACKAGES = ("hneurons", "torch", "transformers", "scikit-learn", "scipy", "statsmodels", "numpy", "pandas", "snakemake")


_TITLES = {
    "table1": "Table 1: the probe and its baselines",
    "k_sweep": "Random neurons in growing numbers",
    "domains": "Detection across domains",
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
    """Write the page from a study's results. Sections without results are left out.

    Args:
        out: the HTML file.
        settings: the study's settings, all that decide its results.
        tables: CSV files by name.
        figures: SVG files by name.
        captions: reStructuredText files by the same names, shared with the workflow's report.
        published: each model's published set of neurons.
        manifests: what pins the models, partners included.
        timings: folder of the jobs' run times. It lacks results that were made elsewhere or earlier.
        paper: the paper's numbers, for comparison.
    """
    study = Study.model_validate(settings)
    frames = {name: pd.read_csv(path) for name, path in tables.items()}
    sets = [NeuronSet.load(path) for path in published]
    times = run_times(timings)
    notes = _caption_notes(frames, sets)
    caption_texts = {name: _plain(path) for name, path in captions.items()}
    write_html(
        out,
        "front.html.jinja",
        study=study.study,
        models=study.models,
        answers=in_short(study, frames, sets, paper),
        figures={
            name: {
                "name": name,
                "title": _TITLES[name],
                "caption": f"{caption_texts[name]} {notes.get(name, '')}".strip(),
                "picture": svg_data_url(path),
                # Readable on a phone without scrolling.
                "narrow": name == "choice",
            }
            for name, path in figures.items()
        },
        grids=grids(study, frames, sets),
        captions=caption_texts,
        times=_times_grid(times),
        hours=sum(row["seconds"] for row in times) / 3600,
        jobs=sum(row["jobs"] for row in times),
        spent=judge_spending(study),
        settings=yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True),
        packages={name: version(name) for name in _PACKAGES},
        pinned=_pinned_grid(manifests),
    )


def _plain(path: str | Path) -> str:
    return " ".join(Path(path).read_text(encoding="utf-8").replace("``", "").split())


def _caption_notes(frames: Mapping[str, pd.DataFrame], sets: Sequence[NeuronSet]) -> dict[str, str]:
    """What captions add for this study: the number of answers, items, neurons and controls."""
    notes = {"neurons": "n: " + "; ".join(f"{s.made_by['model']} {int(s.selected.sum())} H-Neurons" for s in sets) + "."}
    if (table := frames.get("table1")) is not None:
        notes["table1"] = _both_sides(table)
        if len(sets_drawn := table["random_sets"].dropna()):
            notes["table1"] += f" Controls: {int(sets_drawn.max())} sets of random neurons each."
        notes["table1"] += _marked(table) + " " + " ".join(not_beaten(table))
    if (table := frames.get("choice")) is not None:
        notes["choice"] = f"n: {table['selection_n'].max():.0f} held-out answers"
        notes["choice"] += f", {table['suppressed_n'].max():.0f} held-out questions." if "suppressed_n" in table else "."
    if (table := frames.get("figure3")) is not None:
        controls = {name for name in table["neurons"] if name.startswith("random")}
        table = table[table["subset"].isna()]
        items = _listed(table, "benchmark", table["items"].astype(int))
        notes["figure3"] = f"n, items at each α: {items}. Random sets as the control: {len(controls)}."
    if (table := frames.get("utility")) is not None:
        sizes = _listed(table, "measure", table["n"].dropna().astype(int))
        notes["utility"] = f"n, test questions for accuracy, H-Neurons for the CETT ratio: {sizes}."
    if (table := frames.get("transfer")) is not None:
        notes["figure4"] = f"{_both_sides(table)} {' '.join(not_beaten(table))}"
    return notes


def _marked(table: pd.DataFrame) -> str:
    """Where so few random neurons keep a weight that they are not quoted alone."""
    few = table[table["share_used"] < MIN_SHARE_USED]
    sets = ", ".join(dict.fromkeys(few[few["method"] == METHODS[RANDOM_L1]]["dataset"]))
    return f" † fewer than 90 % of the random neurons keep a weight, so L1 is not quoted alone: {sets}." if sets else ""


def _both_sides(table: pd.DataFrame) -> str:
    table = table.dropna(subset="n_hallucinated").astype({"n_hallucinated": int, "n_faithful": int})
    sizes = table["n_hallucinated"].astype(str) + " + " + table["n_faithful"].astype(str)
    return f"n, hallucinated + faithful: {_listed(table, 'dataset', sizes)}."


def _listed(table: pd.DataFrame, name: str, sizes: pd.Series) -> str:
    """Sizes of rows by the value of a column, after the model's name where the table has several models."""
    labels = table["model"] + ", " + table[name] if table["model"].nunique() > 1 else table[name]
    return "; ".join(f"{label} {size}" for label, size in dict(zip(labels[sizes.index], sizes, strict=True)).items())


def run_times(folder: str | Path) -> list[dict[str, Any]]:
    """Sum up the workflow's benchmark files by model and stage.

    Args:
        folder: holds them as {model}/{stage}/….tsv, or {stage}….tsv for stages of all models.

    Returns:
        Rows with model ("all" for shared stages), stage, jobs, seconds, longest (seconds) and mb (peak memory).
    """
    rows = []
    for path in sorted(Path(folder).rglob("*.tsv")):
        parts = path.relative_to(folder).with_suffix("").parts
        # Questions, items, tables and figures are shared by all models.
        per_model = parts[0] not in ("questions", "items") and len(parts) > 1
        model, stage = parts[:2] if per_model else ("all", parts[0])
        for row in timing_rows(path):
            # Memory is not recorded for a job of less than a second.
            mb = float(row["max_rss"]) if row["max_rss"] not in ("", "-", "NA") else 0.0
            rows.append((model, stage, float(row["s"]), mb))
    jobs = pd.DataFrame(rows, columns=["model", "stage", "s", "mb"]).groupby(["model", "stage"])
    totals = jobs.agg(jobs=("s", "size"), seconds=("s", "sum"), longest=("s", "max"), mb=("mb", "max"))
    return frame_rows(totals.reset_index())


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
    """Read from the reply cache what the LLM judge cost.

    Returns:
        calls, dollars, and the judge's model ("rules" without an LLM judge); zero where no call was made.
    """
    llm = study.judges.llm
    if llm is None or not Path(study.judges.cache).is_file():
        return {"calls": 0, "dollars": 0.0, "judge": llm.model if llm else "rules"}
    cache = ReplyCache(study.judges.cache)
    calls, tokens_in, tokens_out = cache.spent(study.study)
    cache.close()
    return {"calls": calls, "dollars": llm.price(calls, tokens_in, tokens_out), "judge": llm.model}


def _pinned_grid(manifests: Sequence[Mapping[str, Any]]) -> Grid:
    def source(row: Mapping[str, Any]) -> str:
        names = {key: value for key, value in row["source"].items() if key in ("hub", "wheel", "folder", "finetune")}
        for key, value in names.items():
            if isinstance(value, dict):
                names[key] = value.get("id") or value.get("package") or value.get("of")
        return "; ".join(f"{key}: {name}" for key, name in names.items() if name)

    return make_grid(
        manifests,
        {
            "model": lambda row: row["model"],
            "source": source,
            "revision": lambda row: row["revision"],
            "layers × d_ff": lambda row: f"{row['layers']} × {_range(Widths.from_facts(row).per_layer)}",
            "dtype": lambda row: row["source"]["dtype"],
        },
    )


def _range(widths: Sequence[int]) -> str:
    smallest, largest = min(widths), max(widths)
    return f"{largest:,}" if smallest == largest else f"{smallest:,}–{largest:,}"
