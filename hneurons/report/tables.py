"""Tables of the paper's form, as CSV (one row per cell, with its interval) and as Markdown to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hneurons.config.paper import Paper
from hneurons.detection.scores import METHODS
from hneurons.impact.curves import DIFFERENCE
from hneurons.neurons.neuron_set import H_NEURONS, RANDOM
from hneurons.probe.classifiers import PROBE
from hneurons.stats import format_interval

# As tables name the difference of slopes.
MINUS_RANDOM = f"{H_NEURONS} minus random"


def choice_table(choices: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What choice.choices found for each model, by its name, as one table."""
    return pd.concat(choices, names=["model"]).reset_index(level="model")


def table1(
    probes: Mapping[str, Mapping[str, Any]], detections: Sequence[Mapping[str, Any]], paper: Paper | None = None
) -> pd.DataFrame:
    """Table 1, one row per model, data set and method.

    probes: per model the summary of its probe. detections: what the detection stage wrote, one per model and data set.
    paper: its accuracy stands beside ours, with the difference, where model and data set are among its own.
    """
    rows = []
    for found in detections:
        probe = probes[found["model"]]
        judged = sum(found["verdicts"].values())
        for row in found["methods"]:
            lead_low, lead_high = row.get("lead_interval", (None, None))
            theirs = _paper_accuracy(paper, found["model"], found["dataset"], row["method"])
            rows.append(
                {
                    "model": found["model"],
                    "neurons": probe["neurons"],
                    "h_neurons": probe["h_neurons"],
                    "ratio_permille": round(1000 * probe["h_neurons"] / probe["neurons"], 4),
                    "C": probe["C"],
                    "dataset": found["dataset"],
                    "method": METHODS[row["method"]],
                    "neurons_used": row.get("neurons_used"),
                    "random_seeds": row["seeds"] if row["seeds"] > 1 else None,
                    "n_hallucinated": row["n_hallucinated"],
                    "n_faithful": row["n_faithful"],
                    "accuracy": row["accuracy"],
                    "accuracy_low": row["accuracy_interval"][0],
                    "accuracy_high": row["accuracy_interval"][1],
                    "paper_accuracy": theirs,
                    "accuracy_minus_paper": None if theirs is None else row["accuracy"] - theirs,
                    "auroc": row["auroc"],
                    "auroc_low": row["auroc_interval"][0],
                    "auroc_high": row["auroc_interval"][1],
                    "auroc_of_seeds_low": min(row["auroc_of_seeds"]) if row["seeds"] > 1 else None,
                    "auroc_of_seeds_high": max(row["auroc_of_seeds"]) if row["seeds"] > 1 else None,
                    "probe_minus_method_auroc": row.get("lead"),
                    "difference_low": lead_low,
                    "difference_high": lead_high,
                    "difference_says": _says(row),
                    "faithful_are": found["faithful_are"],
                    "judge": found["judge"],
                    "spans_by": found["extractor"],
                    "unparsed_percent": round(100 * found["verdicts"].get("unparsed", 0) / judged, 1),
                    "refused_percent": round(100 * found["verdicts"].get("refused", 0) / judged, 1),
                    "judge_error_percent": round(100 * found["verdicts"].get("error", 0) / judged, 1),
                }
            )
    return pd.DataFrame(rows).round(4).astype({"neurons_used": "Int64", "random_seeds": "Int64"})


def _paper_accuracy(paper: Paper | None, model: str, dataset: str, method: str) -> float | None:
    found = paper.accuracy(model, dataset) if paper else None
    percent = {PROBE: found.h_neurons, "random": found.random}.get(method) if found else None
    return None if percent is None else percent / 100


def transfer_table(found: Sequence[Mapping[str, Any]], paper: Paper | None = None) -> pd.DataFrame:
    """Transfer, one row per model, data set and method: the model's probe, unchanged, on the answers of its partner.

    direction: backward, to the model that it was tuned from, as in the paper; forward, to one that was tuned from it.
    """
    rows = []
    for one in found:
        backward = one["direction"] == "backward"
        for row in one["methods"]:
            low, high = row.get("lead_interval", (None, None))
            probes = paper is not None and backward and row["method"] == PROBE
            rows.append(
                {
                    **{k: one[k] for k in ("model", "partner", "direction", "dataset", "judge")},
                    "method": METHODS[row["method"]],
                    "n_hallucinated": row["n_hallucinated"],
                    "n_faithful": row["n_faithful"],
                    "auroc": row["auroc"],
                    "auroc_low": row["auroc_interval"][0],
                    "auroc_high": row["auroc_interval"][1],
                    "paper_auroc": paper.transfer(one["model"], one["dataset"]) if probes and paper else None,
                    "probe_minus_method_auroc": row.get("lead"),
                    "difference_low": low,
                    "difference_high": high,
                }
            )
    return pd.DataFrame(rows).round(4)


def drift_table(found: Sequence[Mapping[str, Any]], paper: Paper | None = None) -> pd.DataFrame:
    """Parameter drift, one row per model and control: H-Neurons among all neurons, and among those of their layer."""
    rows = []
    for one in found:
        for control in ("all", "within_layers"):
            test = one[control]
            low, high = test["interval"]
            theirs = paper.drift(one["model"]) if paper and control == "all" and one["direction"] == "backward" else None
            rows.append(
                {
                    **{k: one[k] for k in ("model", "partner", "direction", "neurons")},
                    "ranked_among": {"all": "all neurons", "within_layers": "neurons of the same layer"}[control],
                    "h_neurons": test["n"],
                    "mean_rank": test["mean_rank"],
                    "low": low,
                    "high": high,
                    "paper_mean_rank": theirs,
                    "others_mean_rank": test["others"],
                    "effect_d": test["effect_d"],
                    "t": test["t"],
                    "p_t_one_sided": test["p_t"],
                    "p_permutation_one_sided": test["p_permutation"],
                }
            )
    return pd.DataFrame(rows)


def _says(row: Mapping[str, Any]) -> str | None:
    if "lead" not in row:
        return None
    if row["lead_includes_0"]:
        return "no difference shown (interval contains 0)"
    return "probe better" if row["lead"] > 0 else "probe worse"


def table1_markdown(table: pd.DataFrame) -> str:
    """Table 1 to read: per data set the methods with 95 % intervals and the probe's lead over each."""
    lines = []
    table = table.fillna({"difference_says": ""})
    for model, of_model in table.groupby("model", sort=False):
        first = of_model.iloc[0]
        lines += [
            f"**{model}**: {first.h_neurons} H-Neurons of {first.neurons} ({first.ratio_permille:.2f} ‰), C = {first.C:g}",
            "",
            "| data set (hallucinated + faithful) | method | accuracy | AUROC | probe's AUROC minus this | |",
            "|---|---|---|---|---|---|",
        ]
        for dataset, rows in of_model.groupby("dataset", sort=False):
            for i, row in enumerate(rows.to_dict("records")):
                name = f"{dataset} ({row['n_hallucinated']} + {row['n_faithful']})" if i == 0 else ""
                lead = ""
                if not pd.isna(row["probe_minus_method_auroc"]):
                    lead = format_interval(row["probe_minus_method_auroc"], row["difference_low"], row["difference_high"])
                accuracy = format_interval(row["accuracy"], row["accuracy_low"], row["accuracy_high"])
                if not pd.isna(row["paper_accuracy"]):
                    accuracy += f"; paper {row['paper_accuracy']:.3f} ({row['accuracy_minus_paper']:+.3f})"
                area = format_interval(row["auroc"], row["auroc_low"], row["auroc_high"])
                lines.append(f"| {name} | {row['method']} | {accuracy} | {area} | {lead} | {row['difference_says']} |")
        lines.append("")
    lines += [
        "Accuracy at p = 0.5; 95 % intervals (Wilson for accuracy; bootstrap over gold answers for AUROC, for differences",
        "and for the mean over the seeds of random neurons). One sample per question.",
        f"Verdicts by: {', '.join(sorted(table['judge'].unique()))}; answer spans by: "
        f"{', '.join(sorted(table['spans_by'].unique()))}. Faithful examples: "
        + "; ".join(f"{d}: {f}" for d, f in table.groupby("dataset", sort=False)["faithful_are"].first().items())
        + ".",
        "Of all responses left out as unparsed (the judge cannot tell what is claimed): "
        + "; ".join(f"{d}: {u:.0f} %" for d, u in table.groupby("dataset", sort=False)["unparsed_percent"].first().items())
        + ".",
    ]
    return "\n".join(lines) + "\n"


def figure3_table(curves: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The numbers behind Figure 3, one row per model, benchmark, neuron set and α; runs that are missing have no row."""
    rows = []
    for curve in curves:
        for neurons, points in curve["points"].items():
            for point in points:
                (low, high), fixed, test = point["interval"], point["fixed"], point["mcnemar"] or {}
                plain = {k: v for k, v in point.items() if k not in ("interval", "fixed", "mcnemar", "alpha")}
                keys = {k: curve[k] for k in ("model", "benchmark", "judge")}
                rows.append(
                    {
                        **{**keys, "neurons": neurons, "alpha": point["alpha"], **plain, "low": low, "high": high},
                        "n_eligible_at_1": fixed["n"],
                        "rate_of_eligible_at_1": fixed["rate"],
                        **{f"mcnemar_{k}": test.get(k) for k in ("n", "lost", "gained", "p")},
                    }
                )
    return pd.DataFrame(rows)


def slopes_table(curves: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Slopes in percentage points per unit α, one row per model, benchmark, part of the α and what is sloped.

    part: all α, suppression (α ≤ 1), amplification (α ≥ 1), and fixed: all α over the items that were eligible at α = 1.
    """
    rows = []
    for curve in curves:
        for part, of_part in curve["slope"].items():
            for name, found in of_part.items():
                low, high = found["interval"] or (None, None)
                keys = {k: curve[k] for k in ("model", "benchmark", "judge", "random_sets")}
                label = MINUS_RANDOM if name == DIFFERENCE else name
                rows.append({**keys, "part": part, "neurons": label, "slope": found["value"], "low": low, "high": high})
    return pd.DataFrame(rows)


# The paper's smaller models have 4 to 8 billion parameters, its larger ones 24 to 70.
LARGE = 10e9


def average_slopes_table(
    curves: Sequence[Mapping[str, Any]], parameters: Mapping[str, int], paper: Paper | None = None
) -> pd.DataFrame:
    """Slopes averaged over the behaviours of smaller and of larger models (10 billion parameters part them).

    parameters: of each model. Intervals are normal, from the bootstrap's standard errors, which are taken as independent.
    The paper's average stands beside where the study has all of its models of a size and its four behaviours.
    """
    rows = []
    for size in ("small", "large"):
        mine = [c for c in curves if (parameters[c["model"]] >= LARGE) == (size == "large")]
        models = sorted({c["model"] for c in mine})
        theirs = paper is not None and set(models) == set(getattr(paper, size))
        for name in (H_NEURONS, RANDOM, DIFFERENCE):
            known = [found for c in mine if (found := c["slope"]["all"][name])["value"] is not None]
            if known:
                mean = sum(found["value"] for found in known) / len(known)
                error = 1.96 * sum(found["error"] ** 2 for found in known) ** 0.5 / len(known)
                rows.append(
                    {
                        "models": size,
                        "n_models": len(models),
                        "n_curves": len(known),
                        "neurons": MINUS_RANDOM if name == DIFFERENCE else name,
                        "mean_slope": mean,
                        "low": mean - error,
                        "high": mean + error,
                        "paper": getattr(paper.slopes, size) if theirs and paper and name == H_NEURONS else None,
                    }
                )
    return pd.DataFrame(rows)


def utility_table(found: Sequence[Mapping[str, Any]], accuracy: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """What scaling costs, one row per model, measure, neuron set and α: perplexity against the untouched model's, accuracy
    on test questions in percent, and the H-Neurons' median CETT against theirs untouched."""
    rows: list[dict[str, Any]] = []
    for curve in accuracy:
        for neurons, points in curve["points"].items():
            for p in points:
                value = {"value": p["rate"], "low": p["interval"][0], "high": p["interval"][1], "n": p["n"]}
                rows.append(
                    {"model": curve["model"], "measure": "accuracy", "neurons": neurons, "alpha": p["alpha"], **value}
                )
    for one in found:
        for neurons, points in one["perplexity"].items():
            for p in points:
                value = {"value": p["ratio"], "low": p["interval"][0], "high": p["interval"][1]}
                row = {"model": one["model"], "measure": "perplexity ratio", "neurons": neurons, "alpha": p["alpha"]}
                rows.append({**row, **value, "n": None, "perplexity": p["perplexity"]})
        for neurons, points in one["cett"].items():
            for p in points:
                value = {"value": p["median"], "low": p["quartiles"][0], "high": p["quartiles"][1], "n": p["neurons"]}
                rows.append(
                    {"model": one["model"], "measure": "CETT ratio", "neurons": neurons, "alpha": p["alpha"], **value}
                )
    return pd.DataFrame(rows)


def agreement_table(found: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """How far two judges agree, one row per model, task and pair of verdicts that was given."""
    rows = []
    for one in found:
        low, high = one["kappa_interval"] or (None, None)
        head = {k: one[k] for k in ("model", "task", "first", "second", "n", "judge_errors", "agree_percent", "kappa")}
        for first, counts in zip(one["labels"], one["confusion"], strict=True):
            for second, count in zip(one["labels"], counts, strict=True):
                if count:
                    rows.append(
                        {**head, "low": low, "high": high, "first_says": first, "second_says": second, "count": count}
                    )
    return pd.DataFrame(rows).round(4)
