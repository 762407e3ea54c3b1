from hneurons import store
from hneurons.impact.agreement import compare_judges, read_agreement_inputs
from hneurons.joblog import job
from hneurons.judges.panel import Judges

with job(snakemake.log[0]):
    params, task = snakemake.params, snakemake.wildcards.task
    inputs, judges = read_agreement_inputs(task, snakemake.input), Judges.from_config(snakemake.config)
    agreement = compare_judges(snakemake.wildcards.model, task, inputs, judges, params.sample, seed=params.seed)
    store.write_result(snakemake.output[0], agreement)
