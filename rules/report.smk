"""Outputs to share: each model's neurons as a published set, a figure of them, and the study's front page."""


localrules:
    publish,
    neurons_figure,
    front,


rule publish:
    """Write the neurons with their results and card as a folder to publish."""
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
    resources:
        **modest(2000, 10),
    params:
        in_domain=IN_DOMAIN,
        stage=VERSIONS["published"],
    script:
        "../workflow_scripts/publish.py"


rule neurons_figure:
    """Draw the layers of the H-Neurons, their stability, and the calibration of the probe."""
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
    resources:
        **modest(2000, 10),
    params:
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/neurons_figure.py"


def results_of_study(ending):
    """Files with this ending from all rules that make tables and figures, for the front page."""
    made = [
        name
        for name in stages.STAGES["figures"].rules
        if WITH_PROBE and name not in ("front", *LEFT_OUT)
    ]
    files = [str(path) for name in made for path in getattr(rules, name).output]
    return [path for path in files if path.endswith(ending)]


rule front:
    """Write the study's front page, with control and interval, and the text that ends its run."""
    input:
        tables=results_of_study(".csv"),
        figures=results_of_study(".svg"),
        published=expand(
            "<study>/{model}/published/neurons.parquet", model=STUDY.models
        ),
        # The page links to them.
        answers=expand("<study>/{model}/answers.html", model=STUDY.models),
        manifests=expand("<study>/{model}/checkpoint/manifest.json", model=SETUP.models),
        captions=[
            ancient(f"report/{name}.rst")
            for name in (
                *("table1", "k_sweep", "neurons", "choice", "figure3", "slopes"),
                *(["domains"] if ALSO_TRAINED else []),
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
        # The same page for the workflow's report, which opens with it.
        frame="<study>/front.iframe.html",
        ending="<study>/ending.txt",
    log:
        "<logs>/front.log",
    benchmark:
        "<timings>/front.tsv"
    resources:
        **modest(2000, 10),
    params:
        # Settings of where and how a study runs do not affect the page.
        study=STUDY.model_dump(
            mode="json",
            exclude={"runtime", "estimates", "cluster_file", "mirror"}
            | ({"main_set"} if STUDY.main_set is None else set()),
        ),
        timings=f"results/{STUDY.study}/timings",
        stage=VERSIONS["figures"],
    script:
        "../workflow_scripts/front.py"
