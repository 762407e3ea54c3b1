"""The probe, its C path, and the random neurons fitted beside it."""


rule probe:
    input:
        cett=shards("<study>/{model}/cett/{dataset}/{shard}.parquet", IN_DOMAIN),
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
        **probing(240),
    params:
        **settings("seed"),
        # The fit does not depend on how intervals are made.
        probe={k: v for k, v in settings("probe")["probe"].items() if k != "bootstrap"},
        stage=VERSIONS["probe"],
    script:
        "../workflow_scripts/probe.py"
