from hneurons import store
from hneurons.config import SplitSettings
from hneurons.datasets import questions_table
from hneurons.downloads import checked
from hneurons.joblog import job

with job(snakemake.log[0]):
    params = snakemake.params
    files = checked(params.sources, snakemake.input)
    splits = SplitSettings(**params.splits) if params.splits else None
    table = questions_table(snakemake.wildcards.dataset, params.n_questions, params.seed, splits, list(files))
    store.write_table(snakemake.output[0], table, {**dict(params.items()), "files": files})
