from hneurons import store
from hneurons.config.setup import parse_study
from hneurons.config.study import ProbeSettings
from hneurons.detection.folds import score_in_folds
from hneurons.detection.scores import read_example_frame
from hneurons.joblog import job
from hneurons.probe.classifiers import read_classifiers

with job(snakemake.log[0], snakemake.threads):
    given, params = snakemake.input, snakemake.params
    methods = score_in_folds(
        read_example_frame(params.in_domain, [given.questions], [given.examples], given.responses, given.spans),
        read_classifiers(given.classifiers),
        given.cett,
        ProbeSettings(**params.probe),
        params.seed,
        parse_study(snakemake.config).study.runtime.probe_memory_gb,
        snakemake.threads,
    )
    head = {"model": snakemake.wildcards.model, "dataset": f"{params.in_domain}: consistent questions, folds by answer"}
    counts = store.read_json(given.counts)
    tail = {
        "judge": counts["judge"],
        "extractor": counts["extractor"],
        "verdicts": counts["verdicts"],
        "faithful_are": "correct answers of the set",
    }
    store.write_json(snakemake.output[0], {**head, **tail, "methods": methods})
