"""Samples, verdicts, answer spans, and the balanced examples made of them."""


# Judging needs the internet where an LLM judges, and seconds where rules do: it runs where snakemake does.
localrules:
    verdicts,
    spans,
    examples,


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


rule verdicts:
    input:
        questions="<study>/questions/{dataset}/{shard}.parquet",
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
        **modest(4000, 240),  # an LLM judge at its rate limit
    params:
        judges=judges_of("correctness"),
        study=STUDY.study,
        stage=VERSIONS["verdicts"],
    script:
        "../workflow_scripts/verdicts.py"


rule spans:
    input:
        questions="<study>/questions/{dataset}/{shard}.parquet",
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
        **modest(4000, 240),
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
        **modest(4000, 30),
    params:
        **settings("seed", "examples"),
        stage=VERSIONS["examples"],
        prompting=prompting,
        dataset=lambda wildcards: STUDY.datasets[wildcards.dataset].model_dump(
            mode="json"
        ),
    script:
        "../workflow_scripts/examples.py"
