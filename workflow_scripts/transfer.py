from hneurons import store
from hneurons.detection.scores import score_dataset
from hneurons.joblog import job
from hneurons.probe.classifiers import read_classifiers
from hneurons.probe.confidence import Combined
from hneurons.probe.examples import read_example_frame

with job(snakemake.log[0]):
    inputs, params, dataset = snakemake.input, snakemake.params, snakemake.wildcards.dataset
    scored = read_example_frame(dataset, [inputs.questions], inputs.examples, inputs.responses, inputs.spans)
    trained = read_example_frame(
        params.in_domain,
        [inputs.trained_questions],
        [inputs.trained_examples],
        inputs.trained_responses,
        inputs.trained_spans,
    )
    counts = store.read_json(inputs.counts[0])
    scores = score_dataset(
        scored,
        trained,
        "",
        read_classifiers(inputs.classifiers),
        Combined.from_dict(store.made_by(inputs.classifiers).get("combined")),
        inputs.cett,
        params.Cs,
        params.seed,
        in_domain=params.in_domain,
        model=snakemake.wildcards.model,
        partner=params.partner,
        direction=params.direction,
        dataset=dataset,
        **{key: counts[key] for key in ("judge", "extractor", "verdicts")},
        note=counts.get("too_few", ""),
    )
    store.write_result(snakemake.output[0], scores)
