from hneurons import store
from hneurons.impact.run_files import read_curve
from hneurons.joblog import job

with job(snakemake.log[0]):
    inputs, params, wildcards = snakemake.input, snakemake.params, snakemake.wildcards
    files = [inputs.untouched, *inputs.scaled]
    curve = read_curve(wildcards.model, wildcards.benchmark, files, alphas=params.alphas)
    store.write_result(snakemake.output[0], curve)
