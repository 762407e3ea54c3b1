from hneurons import store
from hneurons.impact.curves import Curve
from hneurons.impact.utility_curves import read_utility
from hneurons.joblog import job
from hneurons.report.figures.impact import utility_picture
from hneurons.report.tables.impact import utility_table

with job(snakemake.log[0]):
    inputs, params, out = snakemake.input, snakemake.params, snakemake.output
    utility = read_utility(params.models, inputs.perplexity, inputs.cett)
    accuracy = [store.read_result(path, Curve) for path in inputs.accuracy]
    store.write_text(out.csv, utility_table(utility, accuracy).to_csv(index=False))
    utility_picture(utility, accuracy, [out.png, out.svg])
