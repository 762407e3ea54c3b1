"""Verdicts, answer spans and balanced examples, verdicts on the replies of the benchmarks, and how far two judges agree."""


# Judging needs the internet where an LLM judges, and seconds where rules do: it runs where snakemake does.
localrules:
    verdicts,
    spans,
    examples,
    judge_untouched,
    judge_scaled,
    agreement,
    agreement_table,


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


rule judge_untouched:
    input:
        item_file="<study>/benchmarks/{benchmark}.parquet",
        replies="<study>/{model}/replies/{benchmark}/untouched/alpha=1.parquet",
    output:
        "<study>/{model}/impact/{benchmark}/untouched/alpha=1.parquet",
    log:
        "<logs>/{model}/impact/{benchmark}/untouched.log",
    benchmark:
        "<timings>/{model}/impact/{benchmark}/untouched.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(4000, 240),  # an LLM judge at its rate limit
    params:
        judges=lambda wildcards: judges_of_benchmark(wildcards.benchmark),
        study=STUDY.study,
        stage=VERSIONS["judged"],
    script:
        "../workflow_scripts/judged.py"


# As the replies: a job skips the outcomes that are there and were made of the same replies.
rule judge_scaled:
    input:
        item_file="<study>/benchmarks/{benchmark}.parquet",
        replies=expand(RUN, alpha=map(format_alpha, SCALED), allow_missing=True),
    output:
        [
            update(path)
            for path in expand(
                JUDGED, alpha=map(format_alpha, SCALED), allow_missing=True
            )
        ],
    log:
        "<logs>/{model}/impact/{benchmark}/{neurons}.log",
    benchmark:
        "<timings>/{model}/impact/{benchmark}/{neurons}.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(4000, 480),
    params:
        judges=lambda wildcards: judges_of_benchmark(wildcards.benchmark),
        study=STUDY.study,
        stage=VERSIONS["judged"],
    script:
        "../workflow_scripts/judged.py"


rule agreement:
    input:
        asked_of_judges,
    output:
        "<study>/{model}/agreement/{task}.json",
    log:
        "<logs>/{model}/agreement/{task}.log",
    benchmark:
        "<timings>/{model}/agreement/{task}.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(4000, 240),
    params:
        **settings("seed"),
        sample=STUDY.judges.agreement.sample if STUDY.judges.agreement else 0,
        judges=lambda wildcards: judges_of(wildcards.task, asked=True),
        study=STUDY.study,
        bootstrap=STUDY.probe.bootstrap,
        stage=VERSIONS["agreement"],
    script:
        "../workflow_scripts/agreement.py"


rule agreement_table:
    input:
        expand(
            "<study>/{model}/agreement/{task}.json", model=STUDY.models, task=AGREEMENT
        ),
    output:
        report(
            "<study>/tables/agreement.csv",
            caption="../report/agreement.rst",
            category="Judges",
        ),
    log:
        "<logs>/agreement.log",
    benchmark:
        "<timings>/agreement.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(2000, 10),
    params:
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/agreement_table.py"
