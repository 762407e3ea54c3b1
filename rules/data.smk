"""Published files, questions and benchmark items: made once, for all models."""


localrules:
    fetch_source,


rule fetch_source:
    output:
        "results/sources/{source}-{mark}.{ending}",
    log:
        "logs/sources/{source}-{mark}.{ending}.log",
    benchmark:
        "results/sources/{source}-{mark}.{ending}.tsv"
    conda:
        ENVIRONMENT
    params:
        hub=source_named,
    script:
        "../workflow_scripts/fetch_source.py"


rule questions:
    input:
        published=lambda wildcards: dataset_files(STUDY, wildcards.dataset),
    output:
        "<study>/questions/{dataset}.parquet",
    log:
        "<logs>/questions/{dataset}.log",
    benchmark:
        "<timings>/questions/{dataset}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,  # the word lists that NonExist names are checked against
        runtime=10,
    params:
        **settings("seed"),
        stage=VERSIONS["questions"],
        sources=lambda wildcards: sources_of_dataset(STUDY, wildcards.dataset),
        n_questions=lambda wildcards: STUDY.datasets[wildcards.dataset].questions,
        splits=lambda wildcards: (
            settings("splits")["splits"] if wildcards.dataset == IN_DOMAIN else None
        ),
    script:
        "../workflow_scripts/questions.py"


rule items:
    input:
        published=lambda wildcards: benchmark_files(STUDY, wildcards.benchmark),
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
        sources=lambda wildcards: sources_named(wildcards.benchmark),
        benchmark=lambda wildcards: STUDY.impact.benchmarks[
            wildcards.benchmark
        ].model_dump(mode="json"),
    script:
        "../workflow_scripts/items.py"
