from hneurons import store
from hneurons.cett.stage import measure_shard
from hneurons.config.study import CettSettings
from hneurons.joblog import job
from hneurons.models.prepared import PreparedModel
from hneurons.records import EXAMPLES, RESPONSES, SPANS

with job(snakemake.log[0], snakemake.threads) as record:
    record["share"] = measure_shard(
        PreparedModel(snakemake.input.model, snakemake.resources.gpu),
        store.read_table(snakemake.input.examples, EXAMPLES).to_pylist(),
        store.read_table(snakemake.input.responses, RESPONSES).to_pylist(),
        store.read_table(snakemake.input.spans, SPANS).to_pylist(),
        snakemake.output[0],
        CettSettings(**snakemake.params.cett),
        dict(snakemake.params.items()),
        token_budget=snakemake.resources.token_budget,
    )
