from hneurons import store
from hneurons.joblog import job
from hneurons.models.hub import check_access

with job(snakemake.log[0]):
    store.write_json(snakemake.output[0], check_access(snakemake.params.hubs))
