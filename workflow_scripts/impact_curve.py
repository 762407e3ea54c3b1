from hneurons import store
from hneurons.impact.curves import make_curve, read_runs
from hneurons.joblog import job
from hneurons.records import RUNS

with job(snakemake.log[0]):
    given, params = snakemake.input, snakemake.params
    untouched = store.read_table(given.untouched, RUNS)
    scaled = read_runs(given.scaled)
    found = make_curve(untouched, scaled, alphas=params.alphas, resamples=params.bootstrap, seed=params.seed)
    head = {
        "model": snakemake.wildcards.model,
        "benchmark": snakemake.wildcards.benchmark,
        "judge": store.made_by(given.untouched)["judge"],
    }
    store.write_json(snakemake.output[0], {**head, **found})
