from hneurons import store
from hneurons.impact.agreement import compare_judges, read_agreement_inputs
from hneurons.joblog import job
from hneurons.judges.panel import Judges

with job(snakemake.log[0]):
    params, task = snakemake.params, snakemake.wildcards.task
    asked = read_agreement_inputs(task, snakemake.input)
    panel = Judges.from_config(snakemake.config)
    found = compare_judges(task, asked, panel, params.sample, resamples=params.bootstrap, seed=params.seed)
    store.write_json(snakemake.output[0], {"model": snakemake.wildcards.model, **found})
