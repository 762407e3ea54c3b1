from hneurons.config.setup import parse_study
from hneurons.joblog import job
from hneurons.models.prepare import prepare

with job(snakemake.log[0]):
    setup, name = parse_study(snakemake.config), snakemake.wildcards.model
    prepare(name, setup.models[name], snakemake.output[0], next(iter(snakemake.input.wheel), None))
