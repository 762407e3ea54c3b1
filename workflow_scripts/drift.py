from hneurons import store
from hneurons.joblog import job
from hneurons.models.checkpoint import Checkpoint, checkpoint_folder
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.origin.drift import drift_report, measure_drift, neuron_drift_table

with job(snakemake.log[0], snakemake.threads):
    inputs, params, out = snakemake.input, snakemake.params, snakemake.output
    neurons = NeuronSet.load(inputs.neurons)
    drift = measure_drift(*(Checkpoint(checkpoint_folder(manifest)) for manifest in (inputs.partner, inputs.model)))
    pair = {"model": snakemake.wildcards.model, "partner": params.partner, "direction": params.direction}
    store.write_table(out.neurons, neuron_drift_table(drift, neurons), {**pair, "stage": params.stage})
    store.write_result(out.json, drift_report(drift, neurons, params.seed, **pair))
