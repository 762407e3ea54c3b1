import pandas as pd

from hneurons import store
from hneurons.joblog import job
from hneurons.report.figures.neurons import choice_picture
from hneurons.report.tables.detection import choice_table

with job(snakemake.log[0]):
    tables = map(pd.read_csv, snakemake.input.choices)
    choice = choice_table(dict(zip(snakemake.params.models, tables, strict=True)))
    store.write_text(snakemake.output.csv, choice.to_csv(index=False))
    choice_picture(choice, [snakemake.output.png, snakemake.output.svg])
