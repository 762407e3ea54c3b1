"""CETT features of the examples, shard by shard."""


rule cett:
    input:
        examples="<study>/{model}/examples/{dataset}.parquet",
        responses="<study>/{model}/responses/{dataset}/{shard}.parquet",
        spans="<study>/{model}/spans/{dataset}/{shard}.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
    output:
        # What is there of the same responses is kept: a job measures the examples that came new.
        update("<study>/{model}/cett/{dataset}/{shard}.parquet"),
    log:
        "<logs>/{model}/cett/{dataset}/{shard}.log",
    benchmark:
        "<timings>/{model}/cett/{dataset}/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: STUDY.runtime.threads
    resources:
        **needs("cett"),
    params:
        **settings("cett"),
        stage=VERSIONS["cett"],
    script:
        "../workflow_scripts/cett.py"
