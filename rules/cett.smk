"""CETT features of the examples, shard by shard."""


rule cett:
    input:
        examples="<study>/{model}/examples/{dataset}.parquet",
        responses="<study>/{model}/responses/{dataset}/{shard}.parquet",
        spans="<study>/{model}/spans/{dataset}/{shard}.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
    output:
        "<study>/{model}/cett/{dataset}/{shard}.parquet",
    log:
        "<logs>/{model}/cett/{dataset}/{shard}.log",
    benchmark:
        "<timings>/{model}/cett/{dataset}/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: STUDY.runtime.threads
    resources:
        token_budget=STUDY.runtime.token_budget,
        mem_mb=8000,  # the demo's model, one batch, and a shard's features in float16
        runtime=120,
    params:
        **settings("cett"),
        stage=VERSIONS["cett"],
    script:
        "../workflow_scripts/cett.py"
