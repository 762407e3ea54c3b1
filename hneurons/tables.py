"""Tables of the paper's form, as CSV (one row per cell, with its interval) and as Markdown to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hneurons.detection import METHODS


def choice_table(choices: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What choice.choices found for each model, by its name, as one table."""
    return pd.concat(choices, names=["model"]).reset_index(level="model")


def table1(probes: Mapping[str, Mapping[str, Any]], detections: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Table 1, one row per model, data set and method.

    probes: per model the summary of its probe. detections: what the detection stage wrote, one per model and data set.
    """
    rows = []
    for found in detections:
        probe = probes[found["model"]]
        judged = sum(found["verdicts"].values())
        for row in found["methods"]:
            lead_low, lead_high = row.get("lead_interval", (None, None))
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


def transfer_table(found: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Backward transfer, one row per model, data set and method: the model's probe on the answers of its base."""
    rows = []
    for one in found:
        for row in one["methods"]:
            low, high = row.get("lead_interval", (None, None))
            rows.append(
                {
                    **{k: one[k] for k in ("model", "base", "dataset", "judge")},
                    "method": METHODS[row["method"]],
                    "n_hallucinated": row["n_hallucinated"],
                    "n_faithful": row["n_faithful"],
                    "auroc": row["auroc"],
                    "auroc_low": row["auroc_interval"][0],
                    "auroc_high": row["auroc_interval"][1],
                    "probe_minus_method_auroc": row.get("lead"),
                    "difference_low": low,
                    "difference_high": high,
                }
            )
    return pd.DataFrame(rows).round(4)


def _says(row: Mapping[str, Any]) -> str | None:
    if "lead" not in row:
        return None
    if row["lead_includes_0"]:
        return "no difference shown (interval contains 0)"
    return "probe better" if row["lead"] > 0 else "probe worse"


def _cell(value: float, low: float, high: float) -> str:
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


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
                    lead = _cell(row["probe_minus_method_auroc"], row["difference_low"], row["difference_high"])
                accuracy = _cell(row["accuracy"], row["accuracy_low"], row["accuracy_high"])
                area = _cell(row["auroc"], row["auroc_low"], row["auroc_high"])
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
    """The numbers behind Figure 3, one row per model, benchmark, neuron set and α."""
    rows = []
    for curve in curves:
        for neurons, points in curve["points"].items():
            for alpha, point in zip(curve["alphas"], points, strict=True):
                low, high = point["interval"]
                rest = {k: v for k, v in point.items() if k != "interval"}
                keys = {k: curve[k] for k in ("model", "benchmark", "judge")}
                rows.append({**keys, "neurons": neurons, "alpha": alpha, **rest, "low": low, "high": high})
    return pd.DataFrame(rows)


def slopes_table(curves: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Slopes in percentage points per unit α, one row per model, benchmark and what is sloped."""
    rows = []
    for curve in curves:
        measured = {**curve["slope"], "hneurons minus random": curve["slope_lead"]}
        for name, found in measured.items():
            low, high = found["interval"] or (None, None)
            keys = {k: curve[k] for k in ("model", "benchmark", "judge")}
            rows.append({**keys, "neurons": name, "slope": found["value"], "low": low, "high": high})
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
