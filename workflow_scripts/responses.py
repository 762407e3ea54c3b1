from hneurons.config.study import SamplingSettings
from hneurons.generation.sampling import sample_shard
from hneurons.generation.study_engine import engine_for_study
from hneurons.joblog import job

with job(snakemake.log[0], snakemake.threads) as record:
    inputs, params, needed = snakemake.input, snakemake.params, snakemake.resources
    with engine_for_study(
        snakemake.config, snakemake.wildcards.model, inputs.model, needed.gpu, needed.token_budget
    ) as engine:
        record["share"] = sample_shard(
            engine, inputs.questions, snakemake.output[0], SamplingSettings(**params.sampling), dict(params.items())
        )
