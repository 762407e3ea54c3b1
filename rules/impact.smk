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
        stage=VERSIONS["replies"],
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
            stage=VERSIONS["replies"],
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
        **settings("seed", "impact"),
        judges=lambda wildcards: judges_of_benchmark(wildcards.benchmark),
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/impact_curve.py"


localrules:
    figure3,


rule figure3:
    input:
        expand(
            "<study>/{model}/impact/{benchmark}/curve.json",
            model=STUDY.models,
            benchmark=BENCHMARKS,
        ),
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
    log:
        "<logs>/figure3.log",
    benchmark:
        "<timings>/figure3.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(2000, 10),
    params:
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/figure3.py"
