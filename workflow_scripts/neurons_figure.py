from hneurons.joblog import job
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.figures.neurons import neurons_picture

with job(snakemake.log[0]):
    neurons_picture([NeuronSet.load(path) for path in snakemake.input], [snakemake.output.png, snakemake.output.svg])
