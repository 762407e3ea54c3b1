"""What there is to make: the files of the study, by name."""

# What can be had: all of the study, unless its mirror folder lacks files.
DATASETS = [d for d in STUDY.datasets if d not in MISSING]
BENCHMARKS = [b for b in STUDY.impact.benchmarks if b not in MISSING]
# Without the in-domain set there is no probe: then the rest is planned as far as it goes.
WITH_PROBE = IN_DOMAIN in DATASETS
# What is asked at every α: the behaviours, and test questions for the cost of scaling.
ASKED = BENCHMARKS + [b for b in STUDY.benchmarks if b == TEST_QUESTIONS and WITH_PROBE]
UTILITY = [
    name
    for name, wanted in (
        ("perplexity", STUDY.impact.utility.text and HELD_OUT_TEXT not in MISSING),
        ("scaled-cett", STUDY.impact.utility.responses),
    )
    if wanted
]
AGREEMENT = [
    task
    for task in agreement_tasks(STUDY)
    if (WITH_PROBE if task == "correctness" else task in BENCHMARKS)
]

SETS_OF = {
    model: [d for d in SETUP.datasets_of(model) if d in DATASETS]
    for model in SETUP.models
}
SHARD_FILES = [
    f"<study>/{model}/{stage}/{dataset}/{shard}.parquet"
    for model in SETUP.models
    for stage in ("responses", "verdicts", "spans", "cett")
    for dataset in SETS_OF[model]
    for shard in STUDY.shards(dataset)
]
MODEL_FILES = [
    *(
        f"<study>/{model}/examples/{dataset}.parquet"
        for model in SETUP.models
        for dataset in SETS_OF[model]
    ),
    *(
        f"<study>/{model}/agreement/{task}.json"
        for model in STUDY.models
        for task in AGREEMENT
    ),
]
# Everything that comes from outside.
FETCHED = [
    *(f"<study>/{model}/checkpoint/manifest.json" for model in SETUP.models),
    *(f"<study>/questions/{dataset}.parquet" for dataset in DATASETS),
    *(f"<study>/benchmarks/{benchmark}.parquet" for benchmark in ASKED),
    *(text_files(STUDY) if HELD_OUT_TEXT not in MISSING else []),
]
# Without questions to ask with neurons suppressed, C is chosen by held-out accuracy alone.
SUPPRESSED = (
    ["probe/suppressed.parquet", "probe/suppressed-verdicts.parquet"]
    if STUDY.probe.suppressed_questions
    else []
)
if WITH_PROBE:
    MODEL_FILES += [
        f"<study>/{model}/{name}"
        for model in STUDY.models
        for name in (
            "probe/path.parquet",
            *SUPPRESSED,
            "probe/neurons.parquet",
            "probe/classifiers.parquet",
            "probe/choice.csv",
            "probe/summary.json",
            "folds.json",
            "published/neurons.parquet",
            "published/README.md",
            *(f"detection/{dataset}.json" for dataset in DATASETS),
            *(f"impact/{benchmark}/curve.json" for benchmark in ASKED),
            *(f"utility/{name}.parquet" for name in UTILITY),
        )
    ]
    MODEL_FILES += [
        f"<study>/{model}/origin/{name}"
        for model, partner in SETUP.partners.items()
        for name in (
            *(f"transfer/{dataset}.json" for dataset in SETS_OF[partner]),
            "drift.json",
            "drift.parquet",
        )
    ]
RUN_FILES = [
    f"<study>/{model}/{stage}/{benchmark}/{run}.parquet"
    for model in STUDY.models
    for stage in ("replies", "impact")
    for benchmark in ASKED
    for run in (
        "untouched/alpha=1",
        *(
            f"{neurons}/alpha={format_alpha(a)}"
            for neurons in STUDY.neuron_sets
            for a in STUDY.scaled_alphas
            if WITH_PROBE
        ),
    )
]
TABLES = [
    f"<study>/{name}"
    for name, planned in (
        ("tables/table1.csv", WITH_PROBE),
        ("tables/choice.csv", WITH_PROBE),
        ("figures/choice.png", WITH_PROBE),
        ("figures/choice.svg", WITH_PROBE),
        ("tables/table1.md", WITH_PROBE),
        ("figures/table1.png", WITH_PROBE),
        ("figures/table1.svg", WITH_PROBE),
        ("figures/neurons.png", WITH_PROBE),
        ("figures/neurons.svg", WITH_PROBE),
        ("figures/figure3.png", WITH_PROBE and BENCHMARKS),
        ("figures/figure3.svg", WITH_PROBE and BENCHMARKS),
        ("tables/figure3.csv", WITH_PROBE and BENCHMARKS),
        ("tables/slopes.csv", WITH_PROBE and BENCHMARKS),
        ("tables/average_slopes.csv", WITH_PROBE and BENCHMARKS),
        ("figures/utility.png", WITH_PROBE and UTILITY),
        ("figures/utility.svg", WITH_PROBE and UTILITY),
        ("tables/utility.csv", WITH_PROBE and UTILITY),
        ("tables/agreement.csv", AGREEMENT),
        ("tables/transfer.csv", WITH_PROBE and SETUP.partners),
        ("tables/drift.csv", WITH_PROBE and SETUP.partners),
        ("figures/figure4.png", WITH_PROBE and SETUP.partners),
        ("figures/figure4.svg", WITH_PROBE and SETUP.partners),
    )
    if planned
]
# Of what the study has, so it is there whatever is missing; without a probe there is nothing to tell.
FRONT = ["<study>/front.html", "<study>/front.iframe.html"] if WITH_PROBE else []
