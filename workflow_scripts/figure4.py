import pandas as pd

from hneurons import store
from hneurons.config.paper import load_paper
from hneurons.joblog import job
from hneurons.report.figures.origin import figure4
from hneurons.report.tables import drift_table

with job(snakemake.log[0]):
    paper = load_paper(snakemake.input.paper)
    drift = [store.read_json(path) for path in snakemake.input.drift]
    store.write_text(snakemake.output.drift, drift_table(drift, paper).to_csv(index=False))
    figure4(pd.read_csv(snakemake.input.transfer), drift, paper, [snakemake.output.png, snakemake.output.svg])
