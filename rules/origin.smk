"""Where H-Neurons come from: the probe, unchanged, on the answers of the base model (METHOD.md §3)."""


localrules:
    transfer_table,


rule transfer:
    input:
        # Of the base model: what is scored.
        cett=lambda wildcards: of_base(
            wildcards, "<study>/{model}/cett/{dataset}/{shard}.parquet"
        ),
        responses=lambda wildcards: of_base(
            wildcards, "<study>/{model}/responses/{dataset}/{shard}.parquet"
        ),
        spans=lambda wildcards: of_base(
            wildcards, "<study>/{model}/spans/{dataset}/{shard}.parquet"
        ),
        examples=lambda wildcards: of_base(
            wildcards, "<study>/{model}/examples/{dataset}.parquet"
        ),
        counts=lambda wildcards: of_base(
            wildcards, "<study>/{model}/examples/{dataset}.json"
        ),
        questions="<study>/questions/{dataset}.parquet",
        # Of the model itself: its probe, and what its baselines are trained on.
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
    conda:
        ENVIRONMENT
    resources:
        **modest(4000, 60),
    params:
        **settings("seed", "probe"),
        stage=VERSIONS["detection"],
        base=lambda wildcards: SETUP.bases[wildcards.model],
        in_domain=IN_DOMAIN,
    script:
        "../workflow_scripts/transfer.py"


rule transfer_table:
    input:
        [
            f"<study>/{model}/origin/transfer/{dataset}.json"
            for model, base in SETUP.bases.items()
            for dataset in SETS_OF[base]
        ],
    output:
        "<study>/tables/transfer.csv",
    log:
        "<logs>/transfer_table.log",
    benchmark:
        "<timings>/transfer_table.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(2000, 10),
    params:
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/transfer_table.py"
