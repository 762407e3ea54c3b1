from hneurons import store
from hneurons.agreement import compare, read_asked
from hneurons.joblog import job
from hneurons.judges.panel import Panel

with job(snakemake.log[0]):
    params, task = snakemake.params, snakemake.wildcards.task
    asked = read_asked(task, snakemake.input)
    panel = Panel.of_study(snakemake.config)
    found = compare(task, asked, panel, params.sample, resamples=params.bootstrap, seed=params.seed)
    store.write_json(snakemake.output[0], {"model": snakemake.wildcards.model, **found})
