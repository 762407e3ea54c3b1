from hneurons import store
from hneurons.config import SplitSettings
from hneurons.datasets import questions_table
from hneurons.joblog import job

with job(snakemake.log[0]):
    name, dataset = snakemake.wildcards.dataset, snakemake.params.dataset
    splits = SplitSettings(**snakemake.params.splits) if dataset["role"] == "in_domain" else None
    table = questions_table(name, dataset["questions"], snakemake.params.seed, splits)
    store.write_table(snakemake.output[0], table, dict(snakemake.params.items()))
