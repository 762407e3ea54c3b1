from hneurons.joblog import job
from hneurons.neuron_figures import neurons_picture
from hneurons.neurons import NeuronSet

with job(snakemake.log[0]):
    neurons_picture([NeuronSet.load(path) for path in snakemake.input], [snakemake.output.png, snakemake.output.svg])
