"""Published files, questions and benchmark items, which all models share."""


localrules:
    fetch_source,
    questions,
    question_set,
    items,


def source_at(wildcards):
    """Source of a published file, as a param: a repository at a commit, or null for a plain file."""
    hub = pinned_hub_file(STUDY, wildcards.source)
    return hub.model_dump(mode="json") if hub else None


def rows_of(wildcards):
    """First and last row of a shard's questions; the last shard may be shorter."""
    rows = STUDY.shard_rows(wildcards.shard)
    return [rows.start, min(rows.stop, STUDY.dataset(wildcards.dataset).questions)]


def item_files(wildcards):
    """Input of a benchmark's items: published files, or the questions of the in-domain set."""
    if wildcards.benchmark == TEST_QUESTIONS:
        return [f"<study>/questions/{IN_DOMAIN}.parquet"]
    return benchmark_files(STUDY, wildcards.benchmark)


def decoding_of_items(wildcards):
    """Decoding of the test questions, as in sampling; null for benchmarks, whose items set their own decoding."""
    if wildcards.benchmark == TEST_QUESTIONS:
        return settings("sampling")["sampling"]["decoding"]
    return None


def settings_of_benchmark(wildcards):
    """Settings of a benchmark, as a param; with its plugin's content."""
    chosen = STUDY.benchmarks[wildcards.benchmark]
    plugin = {"content": content_of(chosen.plugin)} if chosen.plugin else {}
    return chosen.as_param() | plugin


def version_of_items(wildcards):
    """Version of the stage, as a param; with that of the benchmark's items if it was raised."""
    own = ITEM_VERSIONS.get(wildcards.benchmark)
    return f"{VERSIONS['items']}, items {own}" if own else VERSIONS["items"]


rule fetch_source:
    """Download one published file, pinned by commit or checksum."""
    output:
        "results/sources/{source}-{mark}.{ending}",
    log:
        "logs/sources/{source}-{mark}.{ending}.log",
    benchmark:
        "results/sources/{source}-{mark}.{ending}.tsv"
    params:
        hub=source_at,
    script:
        "../workflow_scripts/fetch_source.py"


rule questions:
    """Write a shard of a data set's questions; additional questions leave full shards unchanged."""
    input:
        published=lambda wildcards: dataset_files(STUDY, wildcards.dataset),
    output:
        "<study>/questions/{dataset}/{shard}.parquet",
    log:
        "<logs>/questions/{dataset}/{shard}.log",
    benchmark:
        "<timings>/questions/{dataset}/{shard}.tsv"
    resources:
        **modest(4000, 10),  # word lists for checking NonExist names
    params:
        asked=identity_of_questions,
        rows=rows_of,
    script:
        "../workflow_scripts/questions.py"


rule question_set:
    """Collect all questions of a data set in one file."""
    input:
        lambda wildcards: shards(
            "<study>/questions/{dataset}/{shard}.parquet", wildcards.dataset
        ),
    output:
        "<study>/questions/{dataset}.parquet",
    log:
        "<logs>/questions/{dataset}.log",
    benchmark:
        "<timings>/questions/{dataset}.tsv"
    resources:
        **modest(2000, 10),
    params:
        stage=VERSIONS["questions"],
    script:
        "../workflow_scripts/question_set.py"


rule items:
    """Draw the items of a benchmark, by the seed."""
    input:
        published=item_files,
    output:
        "<study>/benchmarks/{benchmark}.parquet",
    log:
        "<logs>/items/{benchmark}.log",
    benchmark:
        "<timings>/items/{benchmark}.tsv"
    resources:
        **modest(2000, 10),
    params:
        **settings("seed", "splits"),
        stage=version_of_items,
        sources=lambda wildcards: sources_named(wildcards.benchmark),
        benchmark=settings_of_benchmark,
        decoding=decoding_of_items,
    script:
        "../workflow_scripts/items.py"
