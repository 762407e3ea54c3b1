"""Figure 4: the unchanged probe on the answers of a model's partner, and the drift of the weights."""


localrules:
    transfer_table,
    figure4,


def of_partner(wildcards, pattern):
    """Files of a model's partner, for all shards of the data set."""
    files = expand(
        pattern,
        model=SETUP.partners[wildcards.model],
        dataset=wildcards.dataset,
        shard=STUDY.shards(wildcards.dataset),
    )
    return sorted(set(files))


rule transfer:
    """Score the answers of a model's partner with the unchanged probe."""
    input:
        # The partner's answers, which are scored.
        cett=lambda wildcards: of_partner(
            wildcards, "<study>/{model}/cett/{dataset}/{shard}.parquet"
        ),
        responses=lambda wildcards: of_partner(
            wildcards, "<study>/{model}/responses/{dataset}/{shard}.parquet"
        ),
        spans=lambda wildcards: of_partner(
            wildcards, "<study>/{model}/spans/{dataset}/{shard}.parquet"
        ),
        examples=lambda wildcards: of_partner(
            wildcards, "<study>/{model}/examples/{dataset}.parquet"
        ),
        counts=lambda wildcards: of_partner(
            wildcards, "<study>/{model}/examples/{dataset}.json"
        ),
        questions="<study>/questions/{dataset}.parquet",
        # The model's own probe, and the training data of its baselines.
        classifiers="<study>/{model}/probe/classifiers.parquet",
        trained_questions=f"<study>/questions/{IN_DOMAIN}.parquet",
        trained_examples=f"<study>/{{model}}/examples/{IN_DOMAIN}.parquet",
        trained_responses=shards(
            "<study>/{model}/responses/{dataset}/{shard}.parquet", IN_DOMAIN
        ),
        trained_spans=shards(
            "<study>/{model}/spans/{dataset}/{shard}.parquet", IN_DOMAIN
        ),
    output:
        "<study>/{model}/origin/transfer/{dataset}.json",
    log:
        "<logs>/{model}/origin/transfer/{dataset}.log",
    benchmark:
        "<timings>/{model}/origin/transfer/{dataset}.tsv"
    group:
        "transfer-{model}"
    resources:
        **modest(4000, 60),
    params:
        **settings("seed"),
        Cs=STUDY.probe.C,
        stage=VERSIONS["detection"],
        partner=lambda wildcards: SETUP.partners[wildcards.model],
        direction=direction,
        in_domain=IN_DOMAIN,
    script:
        "../workflow_scripts/transfer.py"


rule transfer_table:
    """Write the transfer of all models as a table."""
    input:
        transfers=[
            f"<study>/{model}/origin/transfer/{dataset}.json"
            for model, partner in SETUP.partners.items()
            for dataset in DATASETS_OF[partner]
        ],
        paper=PAPER,
    output:
        "<study>/tables/transfer.csv",
    log:
        "<logs>/transfer_table.log",
    benchmark:
        "<timings>/transfer_table.tsv"
    resources:
        **modest(2000, 10),
    params:
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/transfer_table.py"


rule drift:
    """Measure how far tuning moved each neuron's weights, from the checkpoints on disk."""
    input:
        partner=lambda wildcards: f"<study>/{SETUP.partners[wildcards.model]}/checkpoint/manifest.json",
        model="<study>/{model}/checkpoint/manifest.json",
        neurons="<study>/{model}/probe/neurons.parquet",
    output:
        json="<study>/{model}/origin/drift.json",
        neurons="<study>/{model}/origin/drift.parquet",
    log:
        "<logs>/{model}/origin/drift.log",
    benchmark:
        "<timings>/{model}/origin/drift.tsv"
    threads: STUDY.runtime.threads
    resources:
        **modest(4000, 120),  # blocks of two tensors, for a model of any size
    params:
        **settings("seed"),
        stage=VERSIONS["drift"],
        partner=lambda wildcards: SETUP.partners[wildcards.model],
        direction=direction,
    script:
        "../workflow_scripts/drift.py"


rule figure4:
    """Draw Figure 4: transfer and drift."""
    input:
        transfer="<study>/tables/transfer.csv",
        drift=expand("<study>/{model}/origin/drift.json", model=SETUP.partners),
        paper=PAPER,
    output:
        png=report(
            "<study>/figures/figure4.png",
            caption="../report/figure4.rst",
            category="Figure 4: origin",
        ),
        svg="<study>/figures/figure4.svg",
        drift=report(
            "<study>/tables/drift.csv",
            caption="../report/drift.rst",
            category="Figure 4: origin",
        ),
    log:
        "<logs>/figure4.log",
    benchmark:
        "<timings>/figure4.tsv"
    resources:
        **modest(2000, 10),
    params:
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/figure4.py"
