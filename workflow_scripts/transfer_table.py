from hneurons import store
from hneurons.config.paper import load_paper
from hneurons.detection.results import DatasetScores
from hneurons.joblog import job
from hneurons.report.tables.detection import transfer_table

with job(snakemake.log[0]):
    transfers = [store.read_result(path, DatasetScores) for path in snakemake.input.transfers]
    table = transfer_table(transfers, load_paper(snakemake.input.paper))
    store.write_text(snakemake.output[0], table.to_csv(index=False))
