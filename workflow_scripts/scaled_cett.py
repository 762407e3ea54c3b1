from hneurons import store
from hneurons.config.study import CettSettings
from hneurons.impact.utility import scaled_cett_table
from hneurons.joblog import job
from hneurons.models.prepared import PreparedModel
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.records import EXAMPLES, RESPONSES, SPANS

with job(snakemake.log[0], snakemake.threads):
    inputs, params = snakemake.input, snakemake.params
    prepared = PreparedModel(inputs.model, snakemake.resources.gpu)
    table = scaled_cett_table(
        prepared,
        NeuronSet.load(inputs.neurons),
        params.alphas,
        store.read_table(inputs.examples, EXAMPLES).to_pylist(),
        [row for path in inputs.responses for row in store.read_table(path, RESPONSES).to_pylist()],
        [row for path in inputs.spans for row in store.read_table(path, SPANS).to_pylist()],
        CettSettings(**params.cett),
        max_responses=params.most,
        seed=params.seed,
        token_budget=snakemake.resources.token_budget,
    )
    store.write_table(snakemake.output[0], table, {**prepared.identity, **dict(params.items())})
