from hneurons import store
from hneurons.config import ProbeSettings
from hneurons.detection import detect, read_examples
from hneurons.joblog import job
from hneurons.probe import CLASSIFIERS, classifiers_from_table

with job(snakemake.log[0]):
    given, params, dataset = snakemake.input, snakemake.params, snakemake.wildcards.dataset
    scalars = store.made_by(given.classifiers)["classifiers"]
    found = detect(
        dataset,
        params.in_domain,
        params.dataset["faithful"] if params.dataset["role"] == "nonexist" else "",
        {
            name: read_examples(name, given.questions, given.examples, given.responses, given.spans)
            for name in {dataset, params.in_domain}
        },
        classifiers_from_table(store.read_table(given.classifiers, CLASSIFIERS), scalars),
        [*given.cett, *given.faithful],
        ProbeSettings(**params.probe),
        params.seed,
    )
    counts = store.read_json(given.counts)
    head = {
        "model": snakemake.wildcards.model,
        "dataset": dataset,
        "judge": counts["judge"],
        "verdicts": counts["verdicts"],
    }
    store.write_json(snakemake.output[0], {**head, **found})
