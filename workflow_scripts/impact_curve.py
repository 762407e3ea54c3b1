from hneurons import store
from hneurons.impact.run_files import read_curve
from hneurons.joblog import job

with job(snakemake.log[0]):
    inputs, params, wildcards = snakemake.input, snakemake.params, snakemake.wildcards
    options = {"alphas": params.alphas, "resamples": params.bootstrap, "seed": params.seed}
    curve = read_curve(wildcards.model, wildcards.benchmark, [inputs.untouched, *inputs.scaled], **options)
    store.write_result(snakemake.output[0], curve)
