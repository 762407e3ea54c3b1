"""Responses to every question, sampled on GPUs without internet access."""


rule responses:
    """Sample the responses to a shard of questions (GPU)."""
    input:
        questions="<study>/questions/{dataset}/{shard}.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
    output:
        update("<study>/{model}/responses/{dataset}/{shard}.parquet"),
    log:
        "<logs>/{model}/responses/{dataset}/{shard}.log",
    benchmark:
        "<timings>/{model}/responses/{dataset}/{shard}.tsv"
    priority: TOWARDS_PROBE
    threads: STUDY.runtime.threads
    resources:
        **needs(estimates.sampling_work),
    params:
        **settings("seed", "sampling", "prompt_date"),
        stage=generated("responses"),
        asked=identity_of_questions,
        prompting=prompting,
    script:
        "../workflow_scripts/responses.py"
