from pathlib import Path

from hneurons import store
from hneurons.joblog import job
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.published import publish, with_results

with job(snakemake.log[0]):
    given = snakemake.input
    source = store.read_json(given.manifest)["source"]
    detections, curves = ([store.read_json(path) for path in paths] for paths in (given.detections, given.curves))
    found = with_results(NeuronSet.load(given.neurons), source, snakemake.params.in_domain, detections, curves)
    publish(found, Path(snakemake.output[0]).parent)
