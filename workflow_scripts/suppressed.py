from hneurons.config import Decoding
from hneurons.engines import engine_of_study
from hneurons.joblog import job
from hneurons.suppressed import suppressed_answers

with job(snakemake.log[0], snakemake.threads) as record:
    given, params, needed = snakemake.input, snakemake.params, snakemake.resources
    with engine_of_study(
        snakemake.config, snakemake.wildcards.model, given.model, needed.gpu, needed.token_budget
    ) as engine:
        record["share"] = suppressed_answers(
            engine,
            given.path,
            given.questions,
            snakemake.output[0],
            Decoding(**params.decoding),
            params.asked,
            {k: v for k, v in params.items() if k != "asked"},
        )
