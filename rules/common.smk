"""Paths, wildcards, resources and params that several rule files share."""

IN_DOMAIN = STUDY.in_domain
# The paper's numbers; a fresh checkout of this file must not rerun the tables.
PAPER = ancient("config/paper.yaml")

# Data sets and benchmarks that can be planned: all, unless the mirror folder lacks files.
DATASETS = [d for d in STUDY.datasets if d not in MISSING]
BENCHMARKS = [b for b in STUDY.impact.benchmarks if b not in MISSING]
# In-domain sets besides the main one: each has a probe, which is tested on all sets.
ALSO_TRAINED = [d for d in STUDY.in_domain_sets if d in DATASETS and d != IN_DOMAIN]
# Without the in-domain set no probe is fitted, and only stages that need no probe are planned.
WITH_PROBE = IN_DOMAIN in DATASETS
# Run at every α: the behaviours, and the test questions that measure the cost of scaling.
AT_EVERY_ALPHA = BENCHMARKS + [
    b for b in STUDY.benchmarks if b == TEST_QUESTIONS and WITH_PROBE
]
AGREEMENT = [
    task
    for task in agreement_tasks(STUDY)
    if (WITH_PROBE if task == "correctness" else task in BENCHMARKS)
]
HELD_OUT = STUDY.impact.utility.text and HELD_OUT_TEXT not in MISSING
DATASETS_OF = {
    model: [d for d in SETUP.datasets_of(model) if d in DATASETS]
    for model in SETUP.models
}
# Everything long waits for the probe, and most of what waits is the α sweep; what does not wait fills the gaps.
TOWARDS_PROBE, AFTER_PROBE = 2, 1
# Rules that this study leaves out.
LEFT_OUT = {
    name
    for name, wanted in {
        "suppressed": STUDY.probe.suppressed_questions,
        "judge_suppressed": STUDY.probe.suppressed_questions,
        "perplexity": HELD_OUT,
        "scaled_cett": STUDY.impact.utility.responses,
        "utility": HELD_OUT or STUDY.impact.utility.responses,
        "figure3": BENCHMARKS,
        "agreement_table": AGREEMENT,
        "transfer_table": SETUP.partners,
        "figure4": SETUP.partners,
        "domain_probe": ALSO_TRAINED,
        "domain_detection": ALSO_TRAINED,
        "domains": ALSO_TRAINED,
    }.items()
    if not wanted
}


def any_of(names):
    """Wildcard constraint that matches exactly these names, and nothing if the list is empty."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    model=SLUG,
    dataset=SLUG,
    trained=any_of(ALSO_TRAINED),
    benchmark=SLUG,
    package=SLUG,
    neurons=r"hneurons|negative|random-\d+",
    source="|".join([*SOURCES, *filter(is_own_set, STUDY.datasets)]),
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


def needs(work, **options):
    """Resources of jobs that load their model, from its size and their work; they grow with each attempt.

    work: function of (setup, model, subject), where the subject is the data set, the benchmark or the in-domain set.
    """

    def resource(name):
        def value(wildcards, attempt):
            subject = wildcards.get("dataset") or wildcards.get("benchmark", IN_DOMAIN)
            expected = work(SETUP, wildcards.model, subject, **options)
            job = estimates.gpu_job(SETUP, wildcards.model, expected, attempt)
            return {**job, **GPU_JOBS[wildcards.model]}.get(name, "")

        return value

    placed = {name for job in GPU_JOBS.values() for name in job}
    names = (*estimates.GPU_RESOURCES, *sorted(placed))
    # A model cannot be spread over GPUs of two nodes.
    return {"nodes": 1, **{name: resource(name) for name in names}}


def modest(mem_mb, minutes):
    """Resources of a job that loads no model; memory and time grow with each attempt."""
    return {
        "mem_mb": lambda wildcards, attempt: mem_mb * attempt,
        "runtime": lambda wildcards, attempt: estimates.runtime(
            SETUP, minutes, attempt
        ),
        **CLUSTER,
    }


def probing(minutes):
    """Resources of a job that fits probes on all neurons of a model, one layer at a time."""
    return {
        **modest(0, minutes),
        "mem_mb": lambda wildcards, attempt: attempt * estimates.probe_mem_mb(SETUP),
    }


def generated(stage):
    """Version of a stage that generates, as a param.

    It names the engine, which determines the random numbers, and how control tokens are read if not as text.
    """

    def version(wildcards):
        engine = SETUP.models[wildcards.model].engine
        facts = [engine.speaks] if engine else []
        if STUDY.control_tokens != "text":
            facts.append(f"control tokens: {STUDY.control_tokens}")
        return ", ".join([str(VERSIONS[stage]), *facts]) if facts else VERSIONS[stage]

    return version


def settings(*parts):
    """Sections of the study that a stage depends on, as params: only a change in one of them reruns the stage."""
    return {part: STUDY.model_dump(mode="json")[part] for part in parts}


def probe_settings(*names):
    """Settings of the probe that a stage depends on, as params."""
    return {"probe": {k: settings("probe")["probe"][k] for k in names}}


def judges_of(task, both=False):
    """Judge of a task, as params, without the LLM's address and budget, which change no verdict.

    both: include the LLM even if another judge judges the task in this study.
    """
    kind = getattr(STUDY.judges, task)
    return {task: kind, **(llm_judge() if kind in LLM_KINDS or both else {})}


def llm_judge():
    """The LLM judge, as params; nothing for a study without one."""
    if (llm := STUDY.judges.llm) is None:
        return {}
    judging = sorted({"model", "structured_output", "max_tokens"})
    facts = {k: llm.model_dump(mode="json")[k] for k in judging}
    return {"llm": facts | llm.changed_sampling()}


def judges_of_set(dataset):
    """Judge of a data set's answers, as params."""
    kind = STUDY.judge_of(dataset)
    return {"correctness": kind, **(llm_judge() if kind == LLM else {})}


def judges_of_benchmark(wildcards):
    """Judge of a benchmark's replies, as params."""
    if wildcards.benchmark == TEST_QUESTIONS:
        return judges_of_set(IN_DOMAIN)
    chosen = STUDY.benchmarks[wildcards.benchmark]
    if chosen.plugin:
        return {"plugin": content_of(chosen.plugin), **llm_judge()}
    if chosen.judge:
        shown = chosen.model_dump(mode="json", include={"judge", "title", "compliance"})
        return shown | (llm_judge() if chosen.judge.kind == LLM else {})
    return judges_of(wildcards.benchmark) if wildcards.benchmark in TASKS else {}


def shards(pattern, dataset):
    """The pattern for all shards of a data set; other wildcards stay."""
    return expand(
        pattern, dataset=dataset, shard=STUDY.shards(dataset), allow_missing=True
    )


def identity_of_questions(wildcards):
    """What determines a set's questions, apart from their number, as params."""
    return questions_identity(STUDY, wildcards.dataset)


def prompting(wildcards):
    """Prompting of a model, as a param: "chat", "chat-test" or "base"."""
    return SETUP.prompting(wildcards.model)


def direction(wildcards):
    """Direction of the comparison: backward to the model's base, or forward to a model tuned from it."""
    return "forward" if SETUP.is_tuned(SETUP.partners[wildcards.model]) else "backward"


def settings_of_dataset(wildcards):
    """Settings of a data set, as a param; newer ones where they are set, so that they rerun no older study."""
    chosen = STUDY.datasets[wildcards.dataset].model_dump(mode="json")
    return {
        key: value
        for key, value in chosen.items()
        if value or key not in ("judge", "hub", "columns")
    }
