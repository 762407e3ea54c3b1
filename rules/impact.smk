"""Figure 3: every benchmark at every α, for the H-Neurons and for random neurons."""

REPLIES = "<study>/{model}/replies/{benchmark}/{neurons}/alpha={alpha}.parquet"
OUTCOMES = "<study>/{model}/impact/{benchmark}/{neurons}/alpha={alpha}.parquet"


def parts(values, size):
    """Split a list into lists of at most this size."""
    return [values[i : i + size] for i in range(0, len(values), size)]


# Runs, each a set of neurons at one α, by job. Where a job has one set, it is a wildcard: a rule serves all sets.
ONE_SET = STUDY.impact.sets_per_job == 1
BUNDLES = [
    [(name, alpha) for name in names for alpha in alphas]
    for names in (
        [["{neurons}"]]
        if ONE_SET
        else parts(STUDY.neuron_sets, STUDY.impact.sets_per_job)
    )
    for alphas in parts(STUDY.scaled_alphas, STUDY.impact.alphas_per_job)
]
SETS_OF_JOB = "{neurons}" if ONE_SET else "sets"


def of_runs(pattern, runs):
    """Files of these runs, each a set of neurons at one α."""
    return [
        path
        for name, alpha in runs
        for path in expand(
            pattern, neurons=name, alpha=format_alpha(alpha), allow_missing=True
        )
    ]


def untouched(pattern):
    """File of the untouched model, which serves as α = 1 for every set of neurons."""
    return of_runs(pattern, [(UNTOUCHED, UNTOUCHED_ALPHA)])[0]


rule untouched:
    """Generate the untouched model's replies to a benchmark (GPU)."""
    input:
        item_file="<study>/benchmarks/{benchmark}.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
    output:
        update(untouched(REPLIES)),
    log:
        "<logs>/{model}/replies/{benchmark}/untouched.log",
    benchmark:
        "<timings>/{model}/replies/{benchmark}/untouched.tsv"
    threads: STUDY.runtime.threads
    resources:
        **needs(estimates.replies_work),
    params:
        **settings("seed", "prompt_date"),
        stage=generated("replies"),
        runs=[[UNTOUCHED, UNTOUCHED_ALPHA]],
    script:
        "../workflow_scripts/replies.py"


# Each run is one output. `update` keeps existing outputs, and the job skips those made from the same inputs and settings.
for number, BUNDLE in enumerate(BUNDLES):

    rule:
        """Generate replies in the runs of a bundle, each with a set of neurons scaled by an α (GPU)."""
        name:
            f"replies_{number}"
        input:
            item_file="<study>/benchmarks/{benchmark}.parquet",
            neurons="<study>/{model}/probe/neurons.parquet",
            model="<study>/{model}/checkpoint/manifest.json",
        output:
            [update(path) for path in of_runs(REPLIES, BUNDLE)],
        log:
            f"<logs>/{{model}}/replies/{{benchmark}}/{SETS_OF_JOB}-{number}.log",
        benchmark:
            f"<timings>/{{model}}/replies/{{benchmark}}/{SETS_OF_JOB}-{number}.tsv"
        priority: AFTER_PROBE
        threads: STUDY.runtime.threads
        resources:
            **needs(estimates.replies_work, runs=len(BUNDLE)),
        params:
            **settings("seed", "prompt_date"),
            stage=generated("replies"),
            runs=lambda wildcards, runs=BUNDLE: [
                [name.format(**dict(wildcards.items())), alpha] for name, alpha in runs
            ],
        script:
            "../workflow_scripts/replies.py"


rule impact_curve:
    """Compute compliance at every α, its slopes, and H-Neurons compared with random neurons."""
    input:
        untouched=untouched(OUTCOMES),
        scaled=of_runs(OUTCOMES, STUDY.runs[1:]),
    output:
        "<study>/{model}/impact/{benchmark}/curve.json",
    log:
        "<logs>/{model}/impact/{benchmark}/curve.log",
    benchmark:
        "<timings>/{model}/impact/{benchmark}/curve.tsv"
    group:
        "curves-{model}"
    resources:
        **modest(2000, 30),
    params:
        alphas=STUDY.impact.alphas,
        judges=judges_of_benchmark,
        stage=VERSIONS["curves"],
    script:
        "../workflow_scripts/impact_curve.py"


localrules:
    figure3,
    utility,


rule figure3:
    """Draw Figure 3 and write its tables."""
    input:
        curves=expand(
            "<study>/{model}/impact/{benchmark}/curve.json",
            model=STUDY.models,
            benchmark=BENCHMARKS,
        ),
        paper=PAPER,
    output:
        png=report(
            "<study>/figures/figure3.png",
            caption="../report/figure3.rst",
            category="Figure 3: impact",
        ),
        svg="<study>/figures/figure3.svg",
        points="<study>/tables/figure3.csv",
        slopes=report(
            "<study>/tables/slopes.csv",
            caption="../report/slopes.rst",
            category="Figure 3: impact",
        ),
        averages=report(
            "<study>/tables/average_slopes.csv",
            caption="../report/average_slopes.rst",
            category="Figure 3: impact",
        ),
    log:
        "<logs>/figure3.log",
    benchmark:
        "<timings>/figure3.tsv"
    resources:
        **modest(2000, 10),
    params:
        parameters={name: SETUP.shapes[name].parameters for name in STUDY.models},
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/figure3.py"


rule perplexity:
    """Measure the perplexity of a held-out text at every α, for every set of neurons (GPU)."""
    input:
        neurons="<study>/{model}/probe/neurons.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
        text=text_files(STUDY) if HELD_OUT_TEXT not in MISSING else [],
    output:
        "<study>/{model}/utility/perplexity.parquet",
    log:
        "<logs>/{model}/perplexity.log",
    benchmark:
        "<timings>/{model}/perplexity.tsv"
    priority: AFTER_PROBE
    threads: STUDY.runtime.threads
    resources:
        **needs(estimates.perplexity_work),
    params:
        sets=STUDY.neuron_sets,
        alphas=STUDY.impact.alphas,
        text=STUDY.impact.utility.text,
        tokens=STUDY.impact.utility.tokens,
        stage=VERSIONS["utility"],
    script:
        "../workflow_scripts/perplexity.py"


rule scaled_cett:
    """Measure the CETT of the H-Neurons at every α (GPU)."""
    input:
        neurons="<study>/{model}/probe/neurons.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
        examples=f"<study>/{{model}}/examples/{IN_DOMAIN}.parquet",
        responses=shards(
            "<study>/{model}/responses/{dataset}/{shard}.parquet", IN_DOMAIN
        ),
        spans=shards("<study>/{model}/spans/{dataset}/{shard}.parquet", IN_DOMAIN),
    output:
        "<study>/{model}/utility/scaled-cett.parquet",
    log:
        "<logs>/{model}/scaled_cett.log",
    benchmark:
        "<timings>/{model}/scaled_cett.tsv"
    threads: STUDY.runtime.threads
    resources:
        **needs(estimates.scaled_cett_work),
    params:
        **settings("seed", "cett"),
        alphas=STUDY.impact.alphas,
        most=STUDY.impact.utility.responses,
        stage=VERSIONS["utility"],
    script:
        "../workflow_scripts/scaled_cett.py"


rule utility:
    """Write the cost of scaling as a table and a figure."""
    input:
        perplexity=expand(
            "<study>/{model}/utility/perplexity.parquet",
            model=STUDY.models if "perplexity" not in LEFT_OUT else [],
        ),
        cett=expand(
            "<study>/{model}/utility/scaled-cett.parquet",
            model=STUDY.models if "scaled_cett" not in LEFT_OUT else [],
        ),
        accuracy=expand(
            f"<study>/{{model}}/impact/{TEST_QUESTIONS}/curve.json",
            model=STUDY.models if TEST_QUESTIONS in AT_EVERY_ALPHA else [],
        ),
    output:
        png=report(
            "<study>/figures/utility.png",
            caption="../report/utility.rst",
            category="Figure 3: impact",
        ),
        svg="<study>/figures/utility.svg",
        csv=report(
            "<study>/tables/utility.csv",
            caption="../report/utility.rst",
            category="Figure 3: impact",
        ),
    log:
        "<logs>/utility.log",
    benchmark:
        "<timings>/utility.tsv"
    resources:
        **modest(2000, 30),
    params:
        models=STUDY.models,
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/utility.py"
