import pandas as pd

from hneurons import store
from hneurons.config.paper import load_paper
from hneurons.joblog import job
from hneurons.origin.drift import DriftReport
from hneurons.report.figures.origin import figure4
from hneurons.report.tables.origin import drift_table

with job(snakemake.log[0]):
    inputs, out = snakemake.input, snakemake.output
    paper = load_paper(inputs.paper)
    drift = [store.read_result(path, DriftReport) for path in inputs.drift]
    store.write_text(out.drift, drift_table(drift, paper).to_csv(index=False))
    figure4(pd.read_csv(inputs.transfer), drift, paper, [out.png, out.svg])
