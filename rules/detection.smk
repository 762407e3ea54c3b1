"""Table 1: the probe compared with its baselines on every data set."""


localrules:
    domains,
    table1,
    k_sweep,


def trained_by(wildcards):
    """The in-domain set whose probe is scored: the main one, unless a rule for the others names it."""
    return wildcards.get("trained", IN_DOMAIN)


def faithful_side(wildcards):
    """CETT shards of the set that trained the probe, if a nonexist set takes its faithful examples from there."""
    if STUDY.datasets[wildcards.dataset].faithful == "correct_answers":
        return shards(
            "<study>/{model}/cett/{dataset}/{shard}.parquet", trained_by(wildcards)
        )
    return []


def classifiers_of(wildcards):
    """The classifiers of the probe that is scored, and of its controls."""
    if "trained" in wildcards.keys():
        return "<study>/{model}/domains/{trained}/classifiers.parquet"
    return "<study>/{model}/probe/classifiers.parquet"


def of_both_sets(pattern):
    """Input function for baselines: files of the set that is scored and of the in-domain set that they are trained on.

    pattern: with {dataset}, and {shard} if it is a shard.
    """

    def paths(wildcards):
        return [
            path
            for d in sorted({wildcards.dataset, trained_by(wildcards)})
            for path in (
                shards(pattern, d)
                if "{shard}" in pattern
                else expand(pattern, dataset=d, allow_missing=True)
            )
        ]

    return paths


rule detection:
    """Score the test answers of a data set with the probe and its baselines."""
    input:
        cett=lambda wildcards: shards(
            "<study>/{model}/cett/{dataset}/{shard}.parquet", wildcards.dataset
        ),
        faithful=faithful_side,
        counts="<study>/{model}/examples/{dataset}.json",
        classifiers=classifiers_of,
        questions=of_both_sets("<study>/questions/{dataset}.parquet"),
        examples=of_both_sets("<study>/{model}/examples/{dataset}.parquet"),
        responses=of_both_sets("<study>/{model}/responses/{dataset}/{shard}.parquet"),
        spans=of_both_sets("<study>/{model}/spans/{dataset}/{shard}.parquet"),
    output:
        "<study>/{model}/detection/{dataset}.json",
    log:
        "<logs>/{model}/detection/{dataset}.log",
    benchmark:
        "<timings>/{model}/detection/{dataset}.tsv"
    group:
        "scores-{model}"
    resources:
        **modest(4000, 60),
    params:
        **settings("seed"),
        Cs=STUDY.probe.C,
        stage=VERSIONS["detection"],
        dataset=settings_of_dataset,
        in_domain=IN_DOMAIN,
    script:
        "../workflow_scripts/detection.py"


rule folds:
    """Score the training answers with the probe and its baselines, in folds by gold answer."""
    input:
        cett=shards("<study>/{model}/cett/{dataset}/{shard}.parquet", IN_DOMAIN),
        classifiers="<study>/{model}/probe/classifiers.parquet",
        questions=f"<study>/questions/{IN_DOMAIN}.parquet",
        examples=f"<study>/{{model}}/examples/{IN_DOMAIN}.parquet",
        counts=f"<study>/{{model}}/examples/{IN_DOMAIN}.json",
        responses=shards(
            "<study>/{model}/responses/{dataset}/{shard}.parquet", IN_DOMAIN
        ),
        spans=shards("<study>/{model}/spans/{dataset}/{shard}.parquet", IN_DOMAIN),
    output:
        "<study>/{model}/folds.json",
    log:
        "<logs>/{model}/folds.log",
    benchmark:
        "<timings>/{model}/folds.tsv"
    priority: AFTER_PROBE
    threads: STUDY.runtime.threads
    resources:
        **probing(240),
    params:
        **settings("seed"),
        **probe_settings(*FITTED, "random_seeds"),
        stage=VERSIONS["detection"],
        in_domain=IN_DOMAIN,
    script:
        "../workflow_scripts/folds.py"


rule answers:
    """Write a page of the model's test answers, each with the judge's verdict and the probe's probability."""
    input:
        cett=[
            path
            for d in DATASETS
            for path in shards("<study>/{model}/cett/{dataset}/{shard}.parquet", d)
        ],
        counts=expand(
            "<study>/{model}/examples/{dataset}.json",
            dataset=DATASETS,
            allow_missing=True,
        ),
        classifiers="<study>/{model}/probe/classifiers.parquet",
        questions=expand("<study>/questions/{dataset}.parquet", dataset=DATASETS),
        examples=expand(
            "<study>/{model}/examples/{dataset}.parquet",
            dataset=DATASETS,
            allow_missing=True,
        ),
        responses=[
            path
            for d in DATASETS
            for path in shards(
                "<study>/{model}/responses/{dataset}/{shard}.parquet", d
            )
        ],
        spans=[
            path
            for d in DATASETS
            for path in shards("<study>/{model}/spans/{dataset}/{shard}.parquet", d)
        ],
    output:
        page=report(
            "<study>/{model}/answers.html",
            caption="../report/answers.rst",
            category="Table 1: detection",
        ),
        table="<study>/{model}/answers.csv",
    log:
        "<logs>/{model}/answers.log",
    benchmark:
        "<timings>/{model}/answers.tsv"
    group:
        "scores-{model}"
    resources:
        **modest(4000, 30),
    params:
        **settings("seed"),
        # Where the faithful examples of each set come from; empty for sets of real questions.
        faithful={
            d: (
                STUDY.datasets[d].faithful
                if STUDY.datasets[d].role == "nonexist"
                else ""
            )
            for d in DATASETS
        },
        in_domain=IN_DOMAIN,
        stage=VERSIONS["published"],
    script:
        "../workflow_scripts/answers.py"


rule table1:
    """Write Table 1: the probe compared with its baselines on every data set."""
    input:
        detections=expand(
            "<study>/{model}/detection/{dataset}.json",
            model=STUDY.models,
            dataset=DATASETS,
        ),
        folds=expand("<study>/{model}/folds.json", model=STUDY.models),
        summaries=expand("<study>/{model}/probe/summary.json", model=STUDY.models),
        paper=PAPER,
    output:
        csv=report(
            "<study>/tables/table1.csv",
            caption="../report/table1.rst",
            category="Table 1: detection",
        ),
        png=report(
            "<study>/figures/table1.png",
            caption="../report/table1.rst",
            category="Table 1: detection",
        ),
        svg="<study>/figures/table1.svg",
    log:
        "<logs>/table1.log",
    benchmark:
        "<timings>/table1.tsv"
    resources:
        **modest(2000, 10),
    params:
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/table1.py"


rule k_sweep:
    """Write random neurons in growing numbers, compared with the probe, as a table and a figure."""
    input:
        expand("<study>/{model}/folds.json", model=STUDY.models),
    output:
        csv=report(
            "<study>/tables/k_sweep.csv",
            caption="../report/k_sweep.rst",
            category="Table 1: detection",
        ),
        png=report(
            "<study>/figures/k_sweep.png",
            caption="../report/k_sweep.rst",
            category="Table 1: detection",
        ),
        svg="<study>/figures/k_sweep.svg",
    log:
        "<logs>/k_sweep.log",
    benchmark:
        "<timings>/k_sweep.tsv"
    resources:
        **modest(2000, 10),
    params:
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/k_sweep.py"


use rule detection as domain_detection with:
    output:
        "<study>/{model}/domains/{trained}/{dataset}.json",
    log:
        "<logs>/{model}/domains/{trained}/{dataset}.log",
    benchmark:
        "<timings>/{model}/domains/{trained}/{dataset}.tsv"
    params:
        **settings("seed"),
        Cs=STUDY.probe.C,
        stage=VERSIONS["detection"],
        dataset=settings_of_dataset,
        in_domain=trained_by,
        trained_on=trained_by,


rule domains:
    """Write how the probe of each in-domain set detects on every set, and how many neurons the probes share."""
    input:
        detections=expand(
            "<study>/{model}/detection/{dataset}.json",
            model=STUDY.models,
            dataset=DATASETS,
        ),
        others=expand(
            "<study>/{model}/domains/{trained}/{dataset}.json",
            model=STUDY.models,
            trained=ALSO_TRAINED,
            dataset=DATASETS,
        ),
        main=expand("<study>/{model}/probe/neurons.parquet", model=STUDY.models),
        neurons=expand(
            "<study>/{model}/domains/{trained}/neurons.parquet",
            model=STUDY.models,
            trained=ALSO_TRAINED,
        ),
    output:
        csv=report(
            "<study>/tables/domains.csv",
            caption="../report/domains.rst",
            category="Table 1: detection",
        ),
        png=report(
            "<study>/figures/domains.png",
            caption="../report/domains.rst",
            category="Table 1: detection",
        ),
        svg="<study>/figures/domains.svg",
    log:
        "<logs>/domains.log",
    benchmark:
        "<timings>/domains.tsv"
    resources:
        **modest(2000, 10),
    params:
        in_domain=IN_DOMAIN,
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/domains.py"
