from hneurons.joblog import job
from hneurons.model_config import ModelSettings
from hneurons.models import prepare

with job(snakemake.log[0]):
    settings = ModelSettings(**snakemake.params.model)
    prepare(snakemake.wildcards.model, settings, snakemake.output[0], next(iter(snakemake.input), None))
