from pathlib import Path

from hneurons import store
from hneurons.benchmarks import BENCHMARKS
from hneurons.benchmarks.benchmark import Draw, items_table
from hneurons.config import Decoding, SplitSettings
from hneurons.downloads import checked
from hneurons.impact_config import BenchmarkSettings
from hneurons.joblog import job

with job(snakemake.log[0]):
    params, name = snakemake.params, snakemake.wildcards.benchmark
    files = checked(params.sources, snakemake.input)
    settings = BenchmarkSettings(**params.benchmark)
    decoding = Decoding(**params.decoding) if params.decoding else None
    draw = Draw(settings.items, params.seed, SplitSettings(**params.splits), tuple(map(Path, files)), decoding)
    table = items_table(name, BENCHMARKS[name], draw, settings.max_new_tokens)
    store.write_table(snakemake.output[0], table, {**dict(params.items()), "files": files})
