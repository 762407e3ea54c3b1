from hneurons.config.study import Decoding
from hneurons.generation.study_engine import engine_for_study
from hneurons.joblog import job
from hneurons.probe.suppressed import sample_suppressed

with job(snakemake.log[0], snakemake.threads) as record:
    inputs, params, needed = snakemake.input, snakemake.params, snakemake.resources
    with engine_for_study(
        snakemake.config, snakemake.wildcards.model, inputs.model, needed.gpu, needed.token_budget
    ) as engine:
        record["share"] = sample_suppressed(
            engine,
            inputs.path,
            inputs.questions,
            snakemake.output[0],
            Decoding(**params.decoding),
            params.asked,
            {k: v for k, v in params.items() if k != "asked"},
        )
