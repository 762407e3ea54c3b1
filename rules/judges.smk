"""Verdicts, answer spans, balanced examples, outcomes of benchmark replies, and the agreement of two judges."""


# An LLM judge needs the internet and rules take seconds, so judging runs on the machine that runs snakemake.
localrules:
    verdicts,
    spans,
    examples,
    judge_untouched,
    agreement,
    agreement_table,


rule verdicts:
    """Judge every response."""
    input:
        questions="<study>/questions/{dataset}/{shard}.parquet",
        responses="<study>/{model}/responses/{dataset}/{shard}.parquet",
    output:
        "<study>/{model}/verdicts/{dataset}/{shard}.parquet",
    log:
        "<logs>/{model}/verdicts/{dataset}/{shard}.log",
    benchmark:
        "<timings>/{model}/verdicts/{dataset}/{shard}.tsv"
    priority: TOWARDS_PROBE
    resources:
        **modest(4000, 240),  # an LLM judge at its rate limit
    params:
        judges=lambda wildcards: judges_of_set(wildcards.dataset),
        study=STUDY.study,
        stage=VERSIONS["verdicts"],
    script:
        "../workflow_scripts/verdicts.py"


rule spans:
    """Locate the answer span of every response that can become an example."""
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
    priority: TOWARDS_PROBE
    resources:
        **modest(4000, 240),
    params:
        judges=judges_of("spans"),
        example=STUDY.examples.example,
        study=STUDY.study,
        stage=VERSIONS["spans"],
    script:
        "../workflow_scripts/spans.py"


rule examples:
    """Select consistent questions, balanced by class, in disjoint splits."""
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
    priority: TOWARDS_PROBE
    resources:
        **modest(4000, 30),
    params:
        **settings("seed", "examples"),
        stage=VERSIONS["examples"],
        prompting=prompting,
        dataset=settings_of_dataset,
    script:
        "../workflow_scripts/examples.py"


rule judge_untouched:
    """Judge the untouched model's replies."""
    input:
        item_file="<study>/benchmarks/{benchmark}.parquet",
        replies=untouched(REPLIES),
    output:
        untouched(OUTCOMES),
    log:
        "<logs>/{model}/impact/{benchmark}/untouched.log",
    benchmark:
        "<timings>/{model}/impact/{benchmark}/untouched.tsv"
    resources:
        **modest(4000, 240),  # an LLM judge at its rate limit
    params:
        judges=judges_of_benchmark,
        study=STUDY.study,
        stage=VERSIONS["judged"],
    script:
        "../workflow_scripts/judged.py"


for number, BUNDLE in enumerate(BUNDLES):

    rule:
        """Judge the replies in the runs of a bundle; outcomes of unchanged replies are kept."""
        name:
            f"judge_scaled_{number}"
        input:
            item_file="<study>/benchmarks/{benchmark}.parquet",
            replies=of_runs(REPLIES, BUNDLE),
        output:
            [update(path) for path in of_runs(OUTCOMES, BUNDLE)],
        log:
            f"<logs>/{{model}}/impact/{{benchmark}}/{SETS_OF_JOB}-{number}.log",
        benchmark:
            f"<timings>/{{model}}/impact/{{benchmark}}/{SETS_OF_JOB}-{number}.tsv"
        localrule: True
        resources:
            **modest(4000, 480),
        params:
            judges=judges_of_benchmark,
            study=STUDY.study,
            stage=VERSIONS["judged"],
        script:
            "../workflow_scripts/judged.py"


def judged_by_both(wildcards):
    """Inputs of an agreement task: responses of the in-domain set, or replies of a benchmark."""
    if wildcards.task == "correctness":
        return [f"<study>/questions/{IN_DOMAIN}.parquet"] + shards(
            "<study>/{model}/responses/{dataset}/{shard}.parquet", IN_DOMAIN
        )
    replies = untouched(REPLIES).replace("{benchmark}", wildcards.task)
    return [f"<study>/benchmarks/{wildcards.task}.parquet", replies]


rule agreement:
    """Measure how far the rules and the LLM judge agree on the same sample."""
    input:
        judged_by_both,
    output:
        "<study>/{model}/agreement/{task}.json",
    log:
        "<logs>/{model}/agreement/{task}.log",
    benchmark:
        "<timings>/{model}/agreement/{task}.tsv"
    resources:
        **modest(4000, 240),
    params:
        **settings("seed"),
        sample=STUDY.judges.agreement.sample if STUDY.judges.agreement else 0,
        judges=lambda wildcards: judges_of(wildcards.task, both=True),
        study=STUDY.study,
        stage=VERSIONS["agreement"],
    script:
        "../workflow_scripts/agreement.py"


rule agreement_table:
    """Write the agreement of all models and tasks as a table."""
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
    resources:
        **modest(2000, 10),
    params:
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/agreement_table.py"
