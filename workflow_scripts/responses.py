from hneurons.config import SamplingSettings
from hneurons.engines import engine_of_study
from hneurons.joblog import job
from hneurons.sampling import responses_shard

with job(snakemake.log[0], snakemake.threads) as record:
    given, params, needed = snakemake.input, snakemake.params, snakemake.resources
    with engine_of_study(
        snakemake.config, snakemake.wildcards.model, given.model, needed.gpu, needed.token_budget
    ) as engine:
        record["share"] = responses_shard(
            engine, given.questions, snakemake.output[0], SamplingSettings(**params.sampling), dict(params.items())
        )
