from hneurons import store
from hneurons.joblog import job
from hneurons.records import QUESTIONS

with job(snakemake.log[0]):
    tables = [store.read_table(path, QUESTIONS) for path in snakemake.input]
    store.write_table(snakemake.output[0], store.concat_tables(tables), dict(snakemake.params.items()))
