from hneurons import store
from hneurons.detection.results import DatasetScores
from hneurons.joblog import job
from hneurons.report.figures.detection import sweep_picture
from hneurons.report.tables.detection import sweep_table

with job(snakemake.log[0]):
    table = sweep_table([store.read_result(path, DatasetScores) for path in snakemake.input])
    store.write_text(snakemake.output.csv, table.to_csv(index=False))
    sweep_picture(table, [snakemake.output.png, snakemake.output.svg])
