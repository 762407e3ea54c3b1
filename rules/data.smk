"""Published files, questions and benchmark items: made once, for all models."""


localrules:
    fetch_source,
    questions,
    question_set,
    items,


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


# Shard by shard, so that more questions make new shards and leave the others as they are.
rule questions:
    input:
        published=lambda wildcards: dataset_files(STUDY, wildcards.dataset),
    output:
        "<study>/questions/{dataset}/{shard}.parquet",
    log:
        "<logs>/questions/{dataset}/{shard}.log",
    benchmark:
        "<timings>/questions/{dataset}/{shard}.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(4000, 10),  # the word lists that NonExist names are checked against
    params:
        asked=asked,
        rows=rows_of,
    script:
        "../workflow_scripts/questions.py"


rule question_set:
    input:
        lambda wildcards: shards(
            "<study>/questions/{dataset}/{shard}.parquet", wildcards.dataset
        ),
    output:
        "<study>/questions/{dataset}.parquet",
    log:
        "<logs>/questions/{dataset}.log",
    benchmark:
        "<timings>/questions/{dataset}.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(2000, 10),
    params:
        stage=VERSIONS["questions"],
    script:
        "../workflow_scripts/question_set.py"


rule items:
    input:
        published=items_from,
    output:
        "<study>/benchmarks/{benchmark}.parquet",
    log:
        "<logs>/items/{benchmark}.log",
    benchmark:
        "<timings>/items/{benchmark}.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(2000, 10),
    params:
        **settings("seed", "splits"),
        stage=VERSIONS["items"],
        sources=lambda wildcards: sources_named(wildcards.benchmark),
        benchmark=lambda wildcards: STUDY.benchmarks[wildcards.benchmark].model_dump(
            mode="json"
        ),
        decoding=decoding_of_items,
    script:
        "../workflow_scripts/items.py"
