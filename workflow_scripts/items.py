from pathlib import Path

from hneurons import store
from hneurons.config.setup import parse_study
from hneurons.config.study import Decoding, SplitSettings
from hneurons.data.downloads import checked_hashes
from hneurons.impact.benchmarks.benchmark import ItemDraw, items_table
from hneurons.impact.benchmarks.registry import benchmark_of
from hneurons.joblog import job

with job(snakemake.log[0]):
    params, name = snakemake.params, snakemake.wildcards.benchmark
    files = checked_hashes(params.sources, snakemake.input)
    settings = parse_study(snakemake.config).study.benchmarks[name]
    decoding = Decoding(**params.decoding) if params.decoding else None
    splits = SplitSettings(**params.splits)
    draw = ItemDraw(settings.items, params.seed, splits, tuple(map(Path, files)), decoding, settings.wording)
    table = items_table(name, benchmark_of(name, settings), draw, settings.max_new_tokens)
    store.write_table(snakemake.output[0], table, {**dict(params.items()), "files": files})
