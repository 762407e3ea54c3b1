"""The probe, its C path, and the random neurons fitted beside it."""


rule probe:
    input:
        cett=shards("<study>/{model}/cett/{dataset}/{shard}.parquet", DATASET),
        model="<study>/{model}/checkpoint/manifest.json",
    output:
        neurons="<study>/{model}/probe/neurons.parquet",
        classifiers="<study>/{model}/probe/classifiers.parquet",
        path="<study>/{model}/probe/path.csv",
        summary="<study>/{model}/probe/summary.json",
    log:
        "<logs>/{model}/probe.log",
    benchmark:
        "<timings>/{model}/probe.tsv"
    conda:
        ENVIRONMENT
    threads: STUDY.runtime.threads
    resources:
        mem_mb=16000,  # the training matrix in float64, twice
        runtime=240,
    params:
        **settings("seed", "probe"),
        stage=VERSIONS["probe"],
    script:
        "../workflow_scripts/probe.py"
