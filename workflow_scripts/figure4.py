import pandas as pd

from hneurons import store
from hneurons.joblog import job
from hneurons.origin_figures import figure4
from hneurons.paper import load_paper
from hneurons.tables import drift_table

with job(snakemake.log[0]):
    paper = load_paper(snakemake.input.paper)
    drift = [store.read_json(path) for path in snakemake.input.drift]
    store.write_text(snakemake.output.drift, drift_table(drift, paper).to_csv(index=False))
    figure4(pd.read_csv(snakemake.input.transfer), drift, paper, [snakemake.output.png, snakemake.output.svg])
