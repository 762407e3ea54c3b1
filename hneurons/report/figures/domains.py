"""Detection across domains as a picture: a grid of AUROC for every model."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from hneurons.report.figures.style import save_figure
from hneurons.report.html import frame_rows


def domains_picture(table: pd.DataFrame, paths: Sequence[str | Path]) -> None:
    """Draw a grid per model: a row per in-domain set that trained a probe, a column per set that it scores.

    Args:
        table: as domains_table returns it.
        paths: files to write, the format by the ending.
    """
    models, fit_on, tested_on = (list(dict.fromkeys(table[name])) for name in ("model", "fit_on", "tested_on"))
    size = 1.5 * len(tested_on) + 2.6, len(models) * (0.9 * len(fit_on) + 1.5)
    figure, grid = plt.subplots(len(models), 1, figsize=size, squeeze=False, layout="constrained")
    for axes, model in zip(grid[:, 0], models, strict=True):
        rows = table[table["model"] == model]
        values = rows.pivot(index="fit_on", columns="tested_on", values="auroc").loc[fit_on, tested_on]
        image = axes.imshow(values.to_numpy(float), vmin=0.3, vmax=1.0, cmap="PuOr_r", aspect="auto")
        for row in frame_rows(rows):
            place = tested_on.index(row["tested_on"]), fit_on.index(row["fit_on"])
            if pd.isna(row["auroc"]):
                axes.annotate("too few", place, ha="center", va="center", fontsize=8)
                continue
            shown = row["difference_says"] == "probe better"
            text = f"{row['auroc']:.2f}"
            if not pd.isna(row.get("shared")):
                text += f"\n{row['shared']:.0f} shared"
            weight = "bold" if shown else "normal"
            axes.annotate(text, place, ha="center", va="center", fontsize=8, fontweight=weight)
        axes.set_xticks(range(len(tested_on)), [textwrap.fill(name, 14) for name in tested_on], fontsize=8)
        axes.set_yticks(range(len(fit_on)), [textwrap.fill(name, 18) for name in fit_on], fontsize=8)
        axes.set_xlabel("tested on")
        axes.set_ylabel("probe trained on")
        axes.set_title(model, fontsize=10)
        figure.colorbar(image, ax=axes, label="AUROC")
    save_figure(figure, paths)
