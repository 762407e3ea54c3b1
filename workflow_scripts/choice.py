import pandas as pd

from hneurons import store
from hneurons.figures import choice_picture
from hneurons.joblog import job

with job(snakemake.log[0]):
    tables = [pd.read_csv(path) for path in snakemake.input.choices]
    for table, model in zip(tables, snakemake.params.models, strict=True):
        table.insert(0, "model", model)
    choice = pd.concat(tables)
    store.write_text(snakemake.output.csv, choice.to_csv(index=False))
    choice_picture(choice, [snakemake.output.png, snakemake.output.svg])
