from hneurons import store
from hneurons.detection.scores import score_dataset
from hneurons.joblog import job
from hneurons.probe.classifiers import read_classifiers
from hneurons.probe.confidence import Combined
from hneurons.probe.examples import read_example_frame

with job(snakemake.log[0]):
    inputs, params, dataset = snakemake.input, snakemake.params, snakemake.wildcards.dataset
    scored, trained = (
        read_example_frame(name, inputs.questions, inputs.examples, inputs.responses, inputs.spans)
        for name in (dataset, params.in_domain)
    )
    counts = store.read_json(inputs.counts)
    scores = score_dataset(
        scored,
        trained,
        params.dataset["faithful"] if params.dataset["role"] == "nonexist" else "",
        read_classifiers(inputs.classifiers),
        Combined.from_dict(store.made_by(inputs.classifiers).get("combined")),
        [*inputs.cett, *inputs.faithful],
        params.Cs,
        params.seed,
        in_domain=params.in_domain,
        model=snakemake.wildcards.model,
        dataset=dataset,
        **{key: counts[key] for key in ("judge", "extractor", "verdicts")},
        note=counts.get("too_few", ""),
        trained_on=params.get("trained_on", ""),
    )
    store.write_result(snakemake.output[0], scores)
