from hneurons.config import Decoding
from hneurons.joblog import job
from hneurons.models import Prepared
from hneurons.suppressed import suppressed_answers

with job(snakemake.log[0], snakemake.threads) as record:
    given, params = snakemake.input, snakemake.params
    record["share"] = suppressed_answers(
        Prepared(given.model, snakemake.resources.gpu),
        given.path,
        given.questions,
        snakemake.output[0],
        Decoding(**params.decoding),
        params.asked,
        {k: v for k, v in params.items() if k != "asked"},
        token_budget=snakemake.resources.token_budget,
    )
