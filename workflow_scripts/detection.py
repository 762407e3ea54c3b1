from hneurons import store
from hneurons.config import ProbeSettings
from hneurons.detection import detect, read_examples
from hneurons.joblog import job
from hneurons.probe import read_classifiers

with job(snakemake.log[0]):
    given, params, dataset = snakemake.input, snakemake.params, snakemake.wildcards.dataset
    scored, trained = (
        read_examples(name, given.questions, given.examples, given.responses, given.spans)
        for name in (dataset, params.in_domain)
    )
    found = detect(
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
