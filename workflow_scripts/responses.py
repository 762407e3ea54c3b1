from hneurons.config import SamplingSettings
from hneurons.joblog import job
from hneurons.models import Prepared
from hneurons.sampling import responses_shard

with job(snakemake.log[0], snakemake.threads) as record:
    params = snakemake.params
    record["share"] = responses_shard(
        Prepared(snakemake.input.model, snakemake.resources.gpu),
        snakemake.input.questions,
        snakemake.output[0],
        SamplingSettings(**params.sampling),
        dict(params.items()),
        token_budget=snakemake.resources.token_budget,
    )
