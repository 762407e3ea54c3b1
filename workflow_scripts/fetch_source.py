from hneurons.config import HubFile
from hneurons.downloads import fetch
from hneurons.joblog import job

with job(snakemake.log[0]):
    hub = snakemake.params.hub
    fetch(snakemake.wildcards.source, HubFile(**hub) if hub else None, snakemake.output[0])
