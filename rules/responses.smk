"""Samples of every question: on GPUs, without the internet."""


rule responses:
    input:
        questions="<study>/questions/{dataset}/{shard}.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
    output:
        update("<study>/{model}/responses/{dataset}/{shard}.parquet"),
    log:
        "<logs>/{model}/responses/{dataset}/{shard}.log",
    benchmark:
        "<timings>/{model}/responses/{dataset}/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: STUDY.runtime.threads
    resources:
        **needs("responses"),
    params:
        **settings("seed", "sampling", "prompt_date"),
        stage=generated("responses"),
        asked=asked,
        prompting=prompting,
    script:
        "../workflow_scripts/responses.py"
