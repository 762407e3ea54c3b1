from hneurons import store
from hneurons.config.study import ProbeSettings
from hneurons.detection.scores import read_example_frame, score_dataset
from hneurons.joblog import job
from hneurons.probe.classifiers import read_classifiers

with job(snakemake.log[0]):
    given, params, dataset = snakemake.input, snakemake.params, snakemake.wildcards.dataset
    scored, trained = (
        read_example_frame(name, given.questions, given.examples, given.responses, given.spans)
        for name in (dataset, params.in_domain)
    )
    found = score_dataset(
        scored,
        trained,
        params.in_domain,
        params.dataset["faithful"] if params.dataset["role"] == "nonexist" else "",
        read_classifiers(given.classifiers),
        [*given.cett, *given.faithful],
        ProbeSettings(**params.probe),
        params.seed,
    )
    counts = store.read_json(given.counts)
    head = {
        "model": snakemake.wildcards.model,
        "dataset": dataset,
        "judge": counts["judge"],
        "extractor": counts["extractor"],
        "verdicts": counts["verdicts"],
    }
    store.write_json(snakemake.output[0], {**head, **found})
