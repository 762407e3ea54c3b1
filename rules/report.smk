"""What others see: each model's neurons as a set to publish, where they sit, and the study's front page."""


localrules:
    publish,
    neurons_figure,
    front,


rule publish:
    input:
        neurons="<study>/{model}/probe/neurons.parquet",
        manifest="<study>/{model}/checkpoint/manifest.json",
        detections=expand(
            "<study>/{model}/detection/{dataset}.json",
            dataset=DATASETS,
            allow_missing=True,
        ),
        curves=expand(
            "<study>/{model}/impact/{benchmark}/curve.json",
            benchmark=BENCHMARKS,
            allow_missing=True,
        ),
    output:
        "<study>/{model}/published/neurons.parquet",
        "<study>/{model}/published/README.md",
    log:
        "<logs>/{model}/publish.log",
    benchmark:
        "<timings>/{model}/publish.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(2000, 10),
    params:
        in_domain=IN_DOMAIN,
        stage=VERSIONS["published"],
    script:
        "../workflow_scripts/publish.py"


rule neurons_figure:
    input:
        expand("<study>/{model}/published/neurons.parquet", model=STUDY.models),
    output:
        png=report(
            "<study>/figures/neurons.png",
            caption="../report/neurons.rst",
            category="The choice of C",
        ),
        svg="<study>/figures/neurons.svg",
    log:
        "<logs>/neurons_figure.log",
    benchmark:
        "<timings>/neurons_figure.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(2000, 10),
    params:
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/neurons_figure.py"


rule front:
    input:
        tables=[path for path in TABLES if path.endswith(".csv")],
        figures=[path for path in TABLES if path.endswith(".svg")],
        published=expand(
            "<study>/{model}/published/neurons.parquet", model=STUDY.models
        ),
        manifests=expand("<study>/{model}/checkpoint/manifest.json", model=SETUP.models),
        captions=[
            ancient(f"report/{name}.rst")
            for name in (
                *("table1", "neurons", "choice", "figure3", "slopes"),
                *("average_slopes", "utility", "figure4", "drift", "agreement"),
            )
        ],
        paper=PAPER,
    output:
        page=report(
            "<study>/front.html",
            caption="../report/front.rst",
            category="Front page",
        ),
        # The same within the workflow's report, which opens with it.
        frame="<study>/front.iframe.html",
    log:
        "<logs>/front.log",
    benchmark:
        "<timings>/front.tsv"
    conda:
        ENVIRONMENT
    resources:
        **modest(2000, 10),
    params:
        # Where and how a study runs changes no page of it.
        study=STUDY.model_dump(
            mode="json", exclude={"runtime", "estimates", "cluster_file", "mirror"}
        ),
        timings=f"results/{STUDY.study}/timings",
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/front.py"
