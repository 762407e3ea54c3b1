from hneurons.config.datasets import HubFile
from hneurons.data.downloads import fetch_source
from hneurons.joblog import job

with job(snakemake.log[0]):
    hub = snakemake.params.hub
    fetch_source(snakemake.wildcards.source, HubFile(**hub) if hub else None, snakemake.output[0])
