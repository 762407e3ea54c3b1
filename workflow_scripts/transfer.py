from hneurons import store
from hneurons.config.study import ProbeSettings
from hneurons.detection.scores import read_example_frame, score_dataset
from hneurons.joblog import job
from hneurons.probe.classifiers import read_classifiers

with job(snakemake.log[0]):
    given, params, dataset = snakemake.input, snakemake.params, snakemake.wildcards.dataset
    scored = read_example_frame(dataset, [given.questions], given.examples, given.responses, given.spans)
    trained = read_example_frame(
        params.in_domain,
        [given.trained_questions],
        [given.trained_examples],
        given.trained_responses,
        given.trained_spans,
    )
    found = score_dataset(
        scored,
        trained,
        params.in_domain,
        "",
        read_classifiers(given.classifiers),
        given.cett,
        ProbeSettings(**params.probe),
        params.seed,
    )
    counts = store.read_json(given.counts[0])
    head = {
        "model": snakemake.wildcards.model,
        "partner": params.partner,
        "direction": params.direction,
        "dataset": dataset,
        "judge": counts["judge"],
        "verdicts": counts["verdicts"],
    }
    store.write_json(snakemake.output[0], {**head, **found})
