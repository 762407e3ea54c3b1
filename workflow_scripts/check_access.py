from hneurons import store
from hneurons.hub import check_access
from hneurons.joblog import job

with job(snakemake.log[0]):
    store.write_json(snakemake.output[0], check_access(snakemake.params.hubs))
