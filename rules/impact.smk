"""Figure 3: every benchmark at every α, for the H-Neurons and for random neurons."""

SCALED = STUDY.scaled_alphas
PER_JOB = STUDY.impact.alphas_per_job
# A job loads its model once for all α of a bundle.
BUNDLES = [SCALED[i : i + PER_JOB] for i in range(0, len(SCALED), PER_JOB)]
REPLIES = "<study>/{model}/replies/{benchmark}/{neurons}/alpha={alpha}.parquet"
OUTCOMES = "<study>/{model}/impact/{benchmark}/{neurons}/alpha={alpha}.parquet"


def untouched(pattern):
    """File of the untouched model, which serves as α = 1 for every set of neurons."""
    alpha = format_alpha(UNTOUCHED_ALPHA)
    return expand(pattern, neurons=UNTOUCHED, alpha=alpha, allow_missing=True)[0]


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
        alphas=[UNTOUCHED_ALPHA],
    script:
        "../workflow_scripts/replies.py"


# Each α is one output. `update` keeps existing outputs, and the job skips those made from the same inputs and settings.
for number, BUNDLE in enumerate(BUNDLES):

    rule:
        """Generate replies at the α of a bundle, with a set of neurons scaled (GPU)."""
        name:
            f"replies_{number}"
        input:
            item_file="<study>/benchmarks/{benchmark}.parquet",
            neurons="<study>/{model}/probe/neurons.parquet",
            model="<study>/{model}/checkpoint/manifest.json",
        output:
            [
                update(path)
                for path in expand(
                    REPLIES, alpha=map(format_alpha, BUNDLE), allow_missing=True
                )
            ],
        log:
            f"<logs>/{{model}}/replies/{{benchmark}}/{{neurons}}-{number}.log",
        benchmark:
            f"<timings>/{{model}}/replies/{{benchmark}}/{{neurons}}-{number}.tsv"
        threads: STUDY.runtime.threads
        resources:
            **needs(estimates.replies_work, alphas=len(BUNDLE)),
        params:
            **settings("seed", "prompt_date"),
            stage=generated("replies"),
            alphas=BUNDLE,
        script:
            "../workflow_scripts/replies.py"


rule impact_curve:
    """Compute compliance at every α, its slopes, and H-Neurons compared with random neurons."""
    input:
        untouched=untouched(OUTCOMES),
        scaled=expand(
            OUTCOMES,
            neurons=STUDY.neuron_sets,
            alpha=map(format_alpha, SCALED),
            allow_missing=True,
        ),
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
