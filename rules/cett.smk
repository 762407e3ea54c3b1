"""CETT features of the examples, one file per shard."""


rule cett:
    """Measure the CETT features of a shard's examples (GPU)."""
    input:
        examples="<study>/{model}/examples/{dataset}.parquet",
        responses="<study>/{model}/responses/{dataset}/{shard}.parquet",
        spans="<study>/{model}/spans/{dataset}/{shard}.parquet",
        model="<study>/{model}/checkpoint/manifest.json",
    output:
        # Rows of unchanged responses are kept, so a job measures new examples only.
        update("<study>/{model}/cett/{dataset}/{shard}.parquet"),
    log:
        "<logs>/{model}/cett/{dataset}/{shard}.log",
    benchmark:
        "<timings>/{model}/cett/{dataset}/{shard}.tsv"
    priority: TOWARDS_PROBE
    threads: STUDY.runtime.threads
    resources:
        **needs(estimates.cett_work),
    params:
        **settings("cett"),
        stage=VERSIONS["cett"],
    script:
        "../workflow_scripts/cett.py"
