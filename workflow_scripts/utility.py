from hneurons import store
from hneurons.impact.utility_curves import read_utility
from hneurons.joblog import job
from hneurons.report.figures.impact import utility_picture
from hneurons.report.tables import utility_table

with job(snakemake.log[0]):
    given, params = snakemake.input, snakemake.params
    found = read_utility(params.models, given.perplexity, given.cett, resamples=params.bootstrap, seed=params.seed)
    accuracy = [store.read_json(path) for path in given.accuracy]
    store.write_text(snakemake.output.csv, utility_table(found, accuracy).to_csv(index=False))
    utility_picture(found, accuracy, [snakemake.output.png, snakemake.output.svg])
