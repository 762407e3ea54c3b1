from hneurons import store
from hneurons.config.setup import parse_study
from hneurons.config.study import ProbeSettings
from hneurons.detection.folds import score_in_folds
from hneurons.detection.results import DatasetScores
from hneurons.joblog import job
from hneurons.probe.classifiers import read_classifiers
from hneurons.probe.examples import read_example_frame

with job(snakemake.log[0], snakemake.threads):
    inputs, params = snakemake.input, snakemake.params
    methods, sweep = score_in_folds(
        read_example_frame(params.in_domain, [inputs.questions], [inputs.examples], inputs.responses, inputs.spans),
        read_classifiers(inputs.classifiers),
        inputs.cett,
        ProbeSettings(**params.probe),
        params.seed,
        parse_study(snakemake.config).study.runtime.probe_memory_gb,
        snakemake.threads,
    )
    counts = store.read_json(inputs.counts)
    scores = DatasetScores(
        model=snakemake.wildcards.model,
        dataset=f"{params.in_domain}: consistent questions, folds by answer",
        faithful_are="correct answers of the set",
        methods=methods,
        sweep=sweep,
        **{key: counts[key] for key in ("judge", "extractor", "verdicts")},
    )
    store.write_result(snakemake.output[0], scores)
