from pathlib import Path

from hneurons import store
from hneurons.detection.results import DatasetScores
from hneurons.impact.curves import Curve
from hneurons.joblog import job
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.published import publish, with_results

with job(snakemake.log[0]):
    inputs = snakemake.input
    source = store.read_json(inputs.manifest)["source"]
    detections = [store.read_result(path, DatasetScores) for path in inputs.detections]
    curves = [store.read_result(path, Curve) for path in inputs.curves]
    neurons = with_results(NeuronSet.load(inputs.neurons), source, snakemake.params.in_domain, detections, curves)
    publish(neurons, Path(snakemake.output[0]).parent)
