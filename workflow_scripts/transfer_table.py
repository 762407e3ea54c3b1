from hneurons import store
from hneurons.config.paper import load_paper
from hneurons.joblog import job
from hneurons.report.tables import transfer_table

with job(snakemake.log[0]):
    found = [store.read_json(path) for path in snakemake.input.found]
    table = transfer_table(found, load_paper(snakemake.input.paper))
    store.write_text(snakemake.output[0], table.to_csv(index=False))
