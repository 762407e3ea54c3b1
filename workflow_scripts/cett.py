from hneurons import store
from hneurons.config import CettSettings
from hneurons.extraction import cett_shard
from hneurons.joblog import job
from hneurons.models import identity, load_from_manifest
from hneurons.records import EXAMPLES, RESPONSES, SPANS

with job(snakemake.log[0], snakemake.threads):
    model, _, manifest = load_from_manifest(snakemake.input.model)
    table = cett_shard(
        model,
        store.read_table(snakemake.input.examples, EXAMPLES).to_pylist(),
        store.read_table(snakemake.input.responses, RESPONSES).to_pylist(),
        store.read_table(snakemake.input.spans, SPANS).to_pylist(),
        CettSettings(**snakemake.params.cett),
        token_budget=snakemake.resources.token_budget,
    )
    made_by = {**identity(manifest), **dict(snakemake.params.items())}
    store.write_table(snakemake.output[0], table, made_by, compression="none", use_dictionary=False)
