from pathlib import Path

from hneurons import store
from hneurons.benchmarks import BENCHMARKS
from hneurons.benchmarks.benchmark import Draw, items_table
from hneurons.config import BenchmarkSettings, SplitSettings
from hneurons.downloads import checked
from hneurons.joblog import job

with job(snakemake.log[0]):
    params, name = snakemake.params, snakemake.wildcards.benchmark
    files = checked(params.sources, snakemake.input)
    settings = BenchmarkSettings(**params.benchmark)
    draw = Draw(settings.items, params.seed, SplitSettings(**params.splits), tuple(map(Path, files)))
    table = items_table(name, BENCHMARKS[name], draw, settings.max_new_tokens)
    store.write_table(snakemake.output[0], table, {**dict(params.items()), "files": files})
