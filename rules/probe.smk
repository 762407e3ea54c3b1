"""The probe along its C path, the choice of C, and the random neurons fitted beside it."""


localrules:
    judge_suppressed,
    choice,


FITTED = ("C", "penalty", "labels", "intercept")


rule probe_path:
    input:
        cett=shards("<study>/{model}/cett/{dataset}/{shard}.parquet", IN_DOMAIN),
    output:
        "<study>/{model}/probe/path.parquet",
    log:
        "<logs>/{model}/probe_path.log",
    benchmark:
        "<timings>/{model}/probe_path.tsv"
    conda:
        ENVIRONMENT
    threads: STUDY.runtime.threads
    resources:
        **probing(480),
    params:
        **settings("seed"),
        **of_probe(*FITTED, "resamples"),
        stage=VERSIONS["probe"],
    script:
        "../workflow_scripts/probe_path.py"


# One job for all C: the model is loaded once, and neurons that several C share are suppressed once.
rule suppressed:
    input:
        path="<study>/{model}/probe/path.parquet",
        questions=f"<study>/questions/{IN_DOMAIN}.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
    output:
        update("<study>/{model}/probe/suppressed.parquet"),
    log:
        "<logs>/{model}/suppressed.log",
    benchmark:
        "<timings>/{model}/suppressed.tsv"
    conda:
        ENVIRONMENT
    threads: STUDY.runtime.threads
    resources:
        **needs("suppressed"),
    params:
        **settings("seed", "prompt_date"),
        decoding=settings("sampling")["sampling"]["decoding"],
        prompting="chat",
        asked=STUDY.probe.suppressed_questions,
        stage=generated("suppressed"),
    script:
        "../workflow_scripts/suppressed.py"


rule judge_suppressed:
    input:
        answers="<study>/{model}/probe/suppressed.parquet",
        questions=f"<study>/questions/{IN_DOMAIN}.parquet",
    output:
        "<study>/{model}/probe/suppressed-verdicts.parquet",
    log:
        "<logs>/{model}/judge_suppressed.log",
    benchmark:
        "<timings>/{model}/judge_suppressed.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(4000, 240),  # an LLM judge at its rate limit
    params:
        judges=judges_of("correctness"),
        study=STUDY.study,
        stage=VERSIONS["verdicts"],
    script:
        "../workflow_scripts/judge_suppressed.py"


rule probe:
    input:
        cett=shards("<study>/{model}/cett/{dataset}/{shard}.parquet", IN_DOMAIN),
        path="<study>/{model}/probe/path.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
        questions=f"<study>/questions/{IN_DOMAIN}.parquet",
        suppressed=(
            "<study>/{model}/probe/suppressed-verdicts.parquet" if SUPPRESSED else []
        ),
        untouched=(
            shards("<study>/{model}/verdicts/{dataset}/{shard}.parquet", IN_DOMAIN)
            if SUPPRESSED
            else []
        ),
    output:
        neurons="<study>/{model}/probe/neurons.parquet",
        classifiers="<study>/{model}/probe/classifiers.parquet",
        choice="<study>/{model}/probe/choice.csv",
        summary="<study>/{model}/probe/summary.json",
    log:
        "<logs>/{model}/probe.log",
    benchmark:
        "<timings>/{model}/probe.tsv"
    conda:
        ENVIRONMENT
    threads: STUDY.runtime.threads
    resources:
        **probing(240),
    params:
        **settings("seed"),
        **of_probe(*FITTED, "suppressed_questions", "random_seeds"),
        stage=VERSIONS["probe"],
    script:
        "../workflow_scripts/probe.py"


rule choice:
    input:
        choices=expand("<study>/{model}/probe/choice.csv", model=STUDY.models),
    output:
        csv=report(
            "<study>/tables/choice.csv",
            caption="../report/choice.rst",
            category="The choice of C",
        ),
        png=report(
            "<study>/figures/choice.png",
            caption="../report/choice.rst",
            category="The choice of C",
        ),
        svg="<study>/figures/choice.svg",
    log:
        "<logs>/choice.log",
    benchmark:
        "<timings>/choice.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(2000, 10),
    params:
        models=STUDY.models,
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/choice.py"
