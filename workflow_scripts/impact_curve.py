from hneurons import store
from hneurons.config import ImpactSettings
from hneurons.impact import curve, read_runs
from hneurons.joblog import job
from hneurons.records import RUNS

with job(snakemake.log[0]):
    untouched = store.read_table(snakemake.input.untouched, RUNS)
    settings = ImpactSettings(**snakemake.params.impact)
    found = curve(untouched, read_runs(snakemake.input.scaled), settings, snakemake.params.seed)
    name = snakemake.wildcards.benchmark
    head = {
        "model": snakemake.wildcards.model,
        "benchmark": name,
        "judge": store.made_by(snakemake.input.untouched)["judge"],
    }
    store.write_json(snakemake.output[0], {**head, **found})
