from hneurons import store
from hneurons.impact.utility import held_out_text, perplexity_table
from hneurons.joblog import job
from hneurons.models.prepared import PreparedModel
from hneurons.neurons.neuron_set import NeuronSet

with job(snakemake.log[0], snakemake.threads):
    inputs, params = snakemake.input, snakemake.params
    table, made_by = perplexity_table(
        PreparedModel(inputs.model, snakemake.resources.gpu),
        NeuronSet.load(inputs.neurons),
        params.sets,
        params.alphas,
        held_out_text(params.text, next(iter(inputs.text), None)),
        params.tokens,
        token_budget=snakemake.resources.token_budget,
    )
    store.write_table(snakemake.output[0], table, {**made_by, **dict(params.items())})
