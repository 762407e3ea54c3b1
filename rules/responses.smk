"""Samples, verdicts, answer spans, and the balanced examples made of them."""


rule responses:
    input:
        questions="<study>/questions/{dataset}.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
    output:
        "<study>/{model}/responses/{dataset}/{shard}.parquet",
    log:
        "<logs>/{model}/responses/{dataset}/{shard}.log",
    benchmark:
        "<timings>/{model}/responses/{dataset}/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: STUDY.runtime.threads
    resources:
        token_budget=STUDY.runtime.token_budget,
        mem_mb=8000,  # the demo's model and a batch of tokens in float32
        runtime=240,
    params:
        **settings("seed", "sampling"),
        stage=VERSIONS["responses"],
        rows=lambda wildcards: [
            STUDY.shard_rows(wildcards.shard).start,
            STUDY.shard_rows(wildcards.shard).stop,
        ],
    script:
        "../workflow_scripts/responses.py"


rule verdicts:
    input:
        questions="<study>/questions/{dataset}.parquet",
        responses="<study>/{model}/responses/{dataset}/{shard}.parquet",
    output:
        "<study>/{model}/verdicts/{dataset}/{shard}.parquet",
    log:
        "<logs>/{model}/verdicts/{dataset}/{shard}.log",
    benchmark:
        "<timings>/{model}/verdicts/{dataset}/{shard}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=240,  # an LLM judge at its rate limit
    params:
        judges=judges_of("correctness"),
        study=STUDY.study,
        stage=VERSIONS["verdicts"],
    script:
        "../workflow_scripts/verdicts.py"


rule spans:
    input:
        questions="<study>/questions/{dataset}.parquet",
        responses="<study>/{model}/responses/{dataset}/{shard}.parquet",
        verdicts="<study>/{model}/verdicts/{dataset}/{shard}.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
    output:
        "<study>/{model}/spans/{dataset}/{shard}.parquet",
    log:
        "<logs>/{model}/spans/{dataset}/{shard}.log",
    benchmark:
        "<timings>/{model}/spans/{dataset}/{shard}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        judges=judges_of("spans"),
        study=STUDY.study,
        stage=VERSIONS["spans"],
    script:
        "../workflow_scripts/spans.py"


rule examples:
    input:
        questions="<study>/questions/{dataset}.parquet",
        verdicts=lambda wildcards: shards(
            "<study>/{model}/verdicts/{dataset}/{shard}.parquet", wildcards.dataset
        ),
        spans=lambda wildcards: shards(
            "<study>/{model}/spans/{dataset}/{shard}.parquet", wildcards.dataset
        ),
    output:
        examples="<study>/{model}/examples/{dataset}.parquet",
        counts="<study>/{model}/examples/{dataset}.json",
    log:
        "<logs>/{model}/examples/{dataset}.log",
    benchmark:
        "<timings>/{model}/examples/{dataset}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        **settings("seed", "examples"),
        stage=VERSIONS["examples"],
        dataset=lambda wildcards: STUDY.datasets[wildcards.dataset].model_dump(
            mode="json"
        ),
    script:
        "../workflow_scripts/examples.py"
