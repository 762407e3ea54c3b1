"""The probe at every C, the choice of C, and the random neurons fitted as its controls."""


localrules:
    judge_suppressed,
    choice,


FITTED = ("C", "penalty", "labels", "intercept")


rule probe_path:
    """Fit the probe at every C of the grid, on all neurons, with resamples for stability."""
    input:
        cett=shards("<study>/{model}/cett/{dataset}/{shard}.parquet", IN_DOMAIN),
        questions=f"<study>/questions/{IN_DOMAIN}.parquet",
    output:
        "<study>/{model}/probe/path.parquet",
    log:
        "<logs>/{model}/probe_path.log",
    benchmark:
        "<timings>/{model}/probe_path.tsv"
    priority: TOWARDS_PROBE
    threads: STUDY.runtime.threads
    resources:
        **probing(480),
    params:
        **settings("seed"),
        **probe_settings(*FITTED, "resamples"),
        stage=VERSIONS["probe"],
    script:
        "../workflow_scripts/probe_path.py"


# One job for all C: the model is loaded once, and a set of neurons that several C share is suppressed once.
rule suppressed:
    """Answer held-out questions with the H-Neurons of each C at α = 0 (GPU)."""
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
    priority: TOWARDS_PROBE
    threads: STUDY.runtime.threads
    resources:
        **needs(estimates.suppressed_work),
    params:
        **settings("seed", "prompt_date"),
        decoding=settings("sampling")["sampling"]["decoding"],
        prompting="chat",
        asked=STUDY.probe.suppressed_questions,
        stage=generated("suppressed"),
    script:
        "../workflow_scripts/suppressed.py"


rule judge_suppressed:
    """Judge the answers of the suppressed model."""
    input:
        answers="<study>/{model}/probe/suppressed.parquet",
        questions=f"<study>/questions/{IN_DOMAIN}.parquet",
    output:
        "<study>/{model}/probe/suppressed-verdicts.parquet",
    log:
        "<logs>/{model}/judge_suppressed.log",
    benchmark:
        "<timings>/{model}/judge_suppressed.tsv"
    priority: TOWARDS_PROBE
    resources:
        **modest(4000, 240),  # an LLM judge at its rate limit
    params:
        judges=judges_of_set(IN_DOMAIN),
        study=STUDY.study,
        stage=VERSIONS["verdicts"],
    script:
        "../workflow_scripts/judge_suppressed.py"


rule probe:
    """Choose C, select its neurons with positive weights as H-Neurons, and fit random neurons as controls."""
    input:
        cett=shards("<study>/{model}/cett/{dataset}/{shard}.parquet", IN_DOMAIN),
        path="<study>/{model}/probe/path.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
        questions=f"<study>/questions/{IN_DOMAIN}.parquet",
        # How confident the model was in its answers, for the combined detector.
        examples=f"<study>/{{model}}/examples/{IN_DOMAIN}.parquet",
        responses=shards(
            "<study>/{model}/responses/{dataset}/{shard}.parquet", IN_DOMAIN
        ),
        spans=shards("<study>/{model}/spans/{dataset}/{shard}.parquet", IN_DOMAIN),
        suppressed=(
            "<study>/{model}/probe/suppressed-verdicts.parquet"
            if "suppressed" not in LEFT_OUT
            else []
        ),
        untouched=(
            shards("<study>/{model}/verdicts/{dataset}/{shard}.parquet", IN_DOMAIN)
            if "suppressed" not in LEFT_OUT
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
    priority: TOWARDS_PROBE
    threads: STUDY.runtime.threads
    resources:
        **probing(240),
    params:
        **settings("seed"),
        **probe_settings(*FITTED, "suppressed_questions", "random_seeds"),
        in_domain=IN_DOMAIN,
        stage=VERSIONS["probe"],
    script:
        "../workflow_scripts/probe.py"


rule domain_probe:
    """Fit the probe of an in-domain set besides the main one, with its controls; C by held-out answers alone."""
    input:
        cett=lambda wildcards: shards(
            "<study>/{model}/cett/{dataset}/{shard}.parquet", wildcards.trained
        ),
        model="<study>/{model}/checkpoint/manifest.json",
        questions="<study>/questions/{trained}.parquet",
        examples="<study>/{model}/examples/{trained}.parquet",
        responses=lambda wildcards: shards(
            "<study>/{model}/responses/{dataset}/{shard}.parquet", wildcards.trained
        ),
        spans=lambda wildcards: shards(
            "<study>/{model}/spans/{dataset}/{shard}.parquet", wildcards.trained
        ),
    output:
        neurons="<study>/{model}/domains/{trained}/neurons.parquet",
        classifiers="<study>/{model}/domains/{trained}/classifiers.parquet",
        choice="<study>/{model}/domains/{trained}/choice.csv",
        summary="<study>/{model}/domains/{trained}/summary.json",
    log:
        "<logs>/{model}/domains/{trained}.log",
    benchmark:
        "<timings>/{model}/domains/{trained}.tsv"
    priority: AFTER_PROBE
    threads: STUDY.runtime.threads
    resources:
        **probing(480),
    params:
        **settings("seed"),
        **probe_settings(*FITTED, "resamples", "random_seeds"),
        in_domain=lambda wildcards: wildcards.trained,
        stage=VERSIONS["probe"],
    script:
        "../workflow_scripts/domain_probe.py"


rule choice:
    """Write the choice of C as a table and a figure."""
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
    resources:
        **modest(2000, 10),
    params:
        models=STUDY.models,
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/choice.py"
