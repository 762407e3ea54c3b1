"""Verdicts on the replies of the benchmarks, apart from their generation; and how far two judges agree."""


localrules:
    judge_untouched,
    judge_scaled,
    agreement,
    agreement_table,


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
