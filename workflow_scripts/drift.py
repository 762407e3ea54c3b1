from hneurons import store
from hneurons.checkpoint import Checkpoint, checkpoint_folder
from hneurons.drift import compared, drift_neurons, measure
from hneurons.joblog import job
from hneurons.neurons import NeuronSet

with job(snakemake.log[0], snakemake.threads):
    given, params, out = snakemake.input, snakemake.params, snakemake.output
    neurons = NeuronSet.load(given.neurons)
    drift = measure(*(Checkpoint(checkpoint_folder(manifest)) for manifest in (given.partner, given.model)))
    found = compared(drift, neurons, params.seed)
    head = {"model": snakemake.wildcards.model, "partner": params.partner, "direction": params.direction}
    store.write_table(out.neurons, drift_neurons(drift, neurons), {**head, "stage": params.stage})
    store.write_json(out.json, {**head, **found})
