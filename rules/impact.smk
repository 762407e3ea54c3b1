"""Figure 3: every benchmark at every α, for the H-Neurons and for random neurons."""

SCALED = STUDY.scaled_alphas
PER_JOB = STUDY.impact.alphas_per_job
RUN = "<study>/{model}/replies/{benchmark}/{neurons}/alpha={alpha}.parquet"
JUDGED = "<study>/{model}/impact/{benchmark}/{neurons}/alpha={alpha}.parquet"


rule untouched:
    input:
        item_file="<study>/benchmarks/{benchmark}.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
    output:
        update("<study>/{model}/replies/{benchmark}/untouched/alpha=1.parquet"),
    log:
        "<logs>/{model}/replies/{benchmark}/untouched.log",
    benchmark:
        "<timings>/{model}/replies/{benchmark}/untouched.tsv"
    conda:
        ENVIRONMENT
    threads: STUDY.runtime.threads
    resources:
        **needs("replies"),
    params:
        **settings("seed", "prompt_date"),
        stage=generated("replies"),
        alphas=[1.0],
    script:
        "../workflow_scripts/replies.py"


# One α is one output; a job makes alphas_per_job of them, so that a model is loaded once for all of them. `update` leaves
# the outputs that are there in place: the job skips those that were made of the same inputs and settings.
for number, first in enumerate(range(0, len(SCALED), PER_JOB)):
    ALPHAS = SCALED[first : first + PER_JOB]

    rule:
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
                    RUN, alpha=map(format_alpha, ALPHAS), allow_missing=True
                )
            ],
        log:
            f"<logs>/{{model}}/replies/{{benchmark}}/{{neurons}}-{number}.log",
        benchmark:
            f"<timings>/{{model}}/replies/{{benchmark}}/{{neurons}}-{number}.tsv"
        conda:
            ENVIRONMENT
        threads: STUDY.runtime.threads
        resources:
            **needs("replies", alphas=len(ALPHAS)),
        params:
            **settings("seed", "prompt_date"),
            stage=generated("replies"),
            alphas=ALPHAS,
        script:
            "../workflow_scripts/replies.py"


rule impact_curve:
    input:
        untouched="<study>/{model}/impact/{benchmark}/untouched/alpha=1.parquet",
        scaled=expand(
            JUDGED,
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
    conda:
        ENVIRONMENT
    resources:
        **modest(2000, 30),
    params:
        **settings("seed"),
        alphas=STUDY.impact.alphas,
        bootstrap=STUDY.impact.bootstrap,
        judges=lambda wildcards: judges_of_benchmark(wildcards.benchmark),
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/impact_curve.py"


localrules:
    figure3,
    utility,


rule figure3:
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
    conda:
        ENVIRONMENT
    resources:
        **modest(2000, 10),
    params:
        parameters={name: SETUP.shapes[name].parameters for name in STUDY.models},
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/figure3.py"


rule perplexity:
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
    conda:
        ENVIRONMENT
    threads: STUDY.runtime.threads
    resources:
        **needs("perplexity"),
    params:
        sets=STUDY.neuron_sets,
        alphas=STUDY.impact.alphas,
        text=STUDY.impact.utility.text,
        tokens=STUDY.impact.utility.tokens,
        stage=VERSIONS["utility"],
    script:
        "../workflow_scripts/perplexity.py"


rule scaled_cett:
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
    conda:
        ENVIRONMENT
    threads: STUDY.runtime.threads
    resources:
        **needs("scaled_cett"),
    params:
        **settings("seed", "cett"),
        alphas=STUDY.impact.alphas,
        most=STUDY.impact.utility.responses,
        stage=VERSIONS["utility"],
    script:
        "../workflow_scripts/scaled_cett.py"


rule utility:
    input:
        perplexity=expand(
            "<study>/{model}/utility/perplexity.parquet",
            model=STUDY.models if "perplexity" in UTILITY else [],
        ),
        cett=expand(
            "<study>/{model}/utility/scaled-cett.parquet",
            model=STUDY.models if "scaled-cett" in UTILITY else [],
        ),
        accuracy=expand(
            f"<study>/{{model}}/impact/{TEST_QUESTIONS}/curve.json",
            model=STUDY.models if TEST_QUESTIONS in ASKED else [],
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
    conda:
        ENVIRONMENT
    resources:
        **modest(2000, 30),
    params:
        **settings("seed"),
        models=STUDY.models,
        bootstrap=STUDY.impact.bootstrap,
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/utility.py"
