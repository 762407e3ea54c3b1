from hneurons import store
from hneurons.benchmarks import BENCHMARKS
from hneurons.benchmarks.benchmark import items_table
from hneurons.config import SplitSettings
from hneurons.joblog import job

with job(snakemake.log[0]):
    name = snakemake.wildcards.benchmark
    table = items_table(
        name, BENCHMARKS[name], snakemake.params.n_items, snakemake.params.seed, SplitSettings(**snakemake.params.splits)
    )
    store.write_table(snakemake.output[0], table, dict(snakemake.params.items()))
