from hneurons import store
from hneurons.detection.results import DatasetScores
from hneurons.joblog import job
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.figures.domains import domains_picture
from hneurons.report.tables.domains import domains_table

with job(snakemake.log[0]):
    inputs, out = snakemake.input, snakemake.output
    scores = [store.read_result(path, DatasetScores) for path in [*inputs.detections, *inputs.others]]
    sets = [NeuronSet.load(path) for path in [*inputs.main, *inputs.neurons]]
    table = domains_table(scores, sets, snakemake.params.in_domain)
    store.write_text(out.csv, table.to_csv(index=False))
    domains_picture(table, [out.png, out.svg])
