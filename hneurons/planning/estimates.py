"""Needs of each job, derived from the size of its model: GPUs, memory, run time, and bytes on disk.

Functions take the checked study (`setup`) and the name of a model. No result depends on these numbers. Imported by the
Snakefile, so nothing heavy may be imported here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hneurons.config.behaviours import TEST_QUESTIONS
from hneurons.config.cluster import Speed
from hneurons.config.setup import Setup
from hneurons.config.study import REPLY_ESTIMATES, ReplyEstimate, Study

# Host memory of Python, torch and a batch.
_PROCESS_MB = 4000
# Share of a GPU's memory for weights, cache and activations; the rest goes to the CUDA context and fragmentation.
_USABLE = 0.92
# The requested run time is the estimate times the margin, plus minutes for starting and for slow shared disks.
_MARGIN, _START_MIN = 2.0, 20
# New tokens of a reply to an item of the user's own.
_OWN_REPLY = 100


@dataclass(frozen=True)
class Work:
    """Work of a job.

    Attributes:
        read: tokens read in forward passes.
        new: tokens sampled.
        host_bytes: bytes of results in host memory.
        generates: whether the model's engine does it, which may be a server.
    """

    read: float
    new: float = 0.0
    host_bytes: float = 0.0
    generates: bool = False


def weights_bytes(setup: Setup, model: str) -> int:
    """Return the bytes of a model's weights in the dtype in which it is loaded."""
    return round(setup.shapes[model].parameters * setup.models[model].bytes_per_weight)


def peak_gpu_bytes(setup: Setup, model: str) -> int:
    """Estimate GPU memory: weights, key-value cache of a full batch, and its logits or its CETT in float32."""
    shape, study = setup.shapes[model], setup.study
    width, budget = setup.models[model].bytes_per_value, study.runtime.token_budget
    cache = 2 * shape.layers * (shape.kv_width or shape.d_model) * width * budget
    rows = budget / (study.estimates.prompt_tokens + study.sampling.decoding.max_new_tokens)
    logits = rows * shape.vocabulary * (width + 4 + 4)
    layer = budget * (shape.widest * (width + 4 + 4) + 8 * shape.d_model * width)
    # Two regions of every neuron, by layer and stacked, until they are copied to the host.
    examples = budget / (study.estimates.prompt_tokens + study.estimates.response_tokens)
    return round(weights_bytes(setup, model) + cache + max(logits, layer + examples * 2 * shape.neurons * (4 + 4)))


def gpus(setup: Setup, model: str) -> int:
    """Return the GPUs per job: the setting, or the smallest power of two that holds the weights and a batch."""
    if (setting := setup.models[model].gpus) is not None:
        return setting
    needed = peak_gpu_bytes(setup, model) / (_USABLE * setup.cluster.gpu_memory_gb * 1e9)
    return int(2 ** max(0, math.ceil(math.log2(needed))))


def speed(setup: Setup, model: str) -> Speed:
    """Return the speed of one GPU, or of the CPU for a model without GPUs, with a model of a billion parameters."""
    return setup.cluster.gpu_speed if gpus(setup, model) else setup.cluster.speeds["cpu"]


def load_seconds(setup: Setup, model: str) -> float:
    """Estimate the time to load a model, in seconds."""
    return 20 + weights_bytes(setup, model) / (setup.cluster.load_gb_per_s * 1e9)


def seconds(setup: Setup, model: str, work: Work) -> float:
    """Estimate the run time of a job in seconds, including loading the model."""
    rate, billions, engine = speed(setup, model), setup.shapes[model].parameters / 1e9, setup.models[model].engine
    # Layers that are spread over GPUs run one after the other; a server that splits matrices keeps all of them busy.
    at_once = gpus(setup, model) if work.generates and engine and engine.uses_all_gpus_at_once else 1
    working = billions * (work.read / rate.read_tokens_per_s + work.new / rate.new_tokens_per_s)
    return load_seconds(setup, model) + working / max(1, at_once)


def _trained(study: Study, dataset: str) -> float:
    """Expected training questions of an in-domain set: their share is approximately that of their gold answers."""
    return study.dataset(dataset).questions * study.splits.train


def expected_responses(setup: Setup, model: str, dataset: str) -> float:
    """Estimate the number of sampled responses to a data set: several per training question, one per other question.

    Partners answer test questions only.
    """
    study = setup.study
    questions = study.dataset(dataset).questions
    if dataset not in study.in_domain_sets:
        return questions
    if setup.is_partner(model):
        return questions * (1 - study.splits.train - study.splits.selection)
    return questions + (study.sampling.samples - 1) * _trained(study, dataset)


def expected_examples(setup: Setup, model: str, dataset: str) -> dict[str, float]:
    """Estimate the number of balanced examples of a data set by split, at most per_class of each class."""
    study, d = setup.study, setup.study.dataset(dataset)
    per_class, e = study.examples.per_class, study.estimates
    if d.role == "nonexist" and d.faithful == "correct_answers":
        return {"test": min(per_class, d.questions * (1 - e.decided))}
    if d.role != "in_domain":
        return {"test": 2 * min(per_class, d.questions * e.decided)}
    shares = {"selection": study.splits.selection, "test": 1 - study.splits.train - study.splits.selection}
    held_out = {split: 2 * min(per_class, d.questions * share * e.decided) for split, share in shares.items()}
    if setup.is_partner(model):
        return {"test": held_out["test"]}
    return {"train": 2 * min(per_class, _trained(study, dataset) * e.consistent), **held_out}


def cett_rows(examples_by_split: Mapping[str, float]) -> float:
    """Return the rows of a set's CETT shards: two per training example (answer, other tokens), one per other example."""
    return sum(n * (2 if split == "train" else 1) for split, n in examples_by_split.items())


def cett_bytes(setup: Setup, model: str, rows: float) -> float:
    """Return the bytes of CETT rows: uncompressed float16 features of every neuron."""
    return rows * setup.shapes[model].neurons * 2


def reply_estimate(study: Study, benchmark: str) -> ReplyEstimate:
    """Return the expected tokens of one item of a benchmark at each α; for test questions those of sampling them."""
    if benchmark == TEST_QUESTIONS:
        return ReplyEstimate(read=study.estimates.prompt_tokens, new=study.estimates.response_tokens)
    if (estimate := {**REPLY_ESTIMATES, **study.estimates.replies}.get(benchmark)) is not None:
        return estimate
    # A behaviour of the user's own.
    longest = study.benchmarks[benchmark].max_new_tokens or _OWN_REPLY
    return ReplyEstimate(read=study.estimates.prompt_tokens, new=min(longest, _OWN_REPLY))


def _tokens_read(study: Study, responses: float) -> Work:
    """Work of reading this number of prompts with their responses, in one forward pass each."""
    return Work(responses * (study.estimates.prompt_tokens + study.estimates.response_tokens))


def sampling_work(setup: Setup, model: str, dataset: str) -> Work:
    """Work of one shard of the stage "responses": a prompt is read once for all of its samples."""
    study = setup.study
    sampled, jobs = expected_responses(setup, model, dataset), len(study.shards(dataset))
    prompts = sampled if setup.is_partner(model) else study.dataset(dataset).questions
    read, new = prompts * study.estimates.prompt_tokens / jobs, sampled * study.estimates.response_tokens / jobs
    return Work(read, new, generates=True)


def cett_work(setup: Setup, model: str, dataset: str) -> Work:
    """Work of one shard of the stage "cett", with its features in float32 and float16 in memory."""
    by_split, jobs = expected_examples(setup, model, dataset), len(setup.study.shards(dataset))
    features = 3 * cett_bytes(setup, model, cett_rows(by_split)) / jobs
    return replace(_tokens_read(setup.study, sum(by_split.values()) / jobs), host_bytes=features)


def suppressed_work(setup: Setup, model: str, _: str) -> Work:
    """Work of the stage "suppressed": at most one set of neurons per value of C."""
    study = setup.study
    answers = suppressed_questions(study) * len(study.probe.C)
    return Work(answers * study.estimates.prompt_tokens, answers * study.estimates.response_tokens, generates=True)


def replies_work(setup: Setup, model: str, benchmark: str, runs: int = 1) -> Work:
    """Work of a number of runs of a benchmark, each with a set of neurons at one α."""
    per_item, items = reply_estimate(setup.study, benchmark), runs * setup.study.benchmarks[benchmark].items
    return Work(items * per_item.read, items * per_item.new, generates=True)


def perplexity_work(setup: Setup, model: str, _: str) -> Work:
    """Work of the stage "perplexity": the held-out text at every α, for every neuron set."""
    return Work(setup.study.impact.utility.tokens * len(setup.study.runs))


def scaled_cett_work(setup: Setup, model: str, _: str) -> Work:
    """Work of the stage "scaled_cett": the same responses at every α."""
    impact = setup.study.impact
    return _tokens_read(setup.study, impact.utility.responses * len(impact.alphas))


def tuning_work(setup: Setup, model: str, _: str) -> Work:
    """Work of a fine-tune: a backward pass costs as much as two forward passes."""
    tuned = setup.models[model].finetune
    assert tuned is not None
    lessons = min(tuned.lessons, expected_examples(setup, tuned.of, setup.study.in_domain)["train"])
    return _tokens_read(setup.study, 3 * tuned.epochs * lessons)


GPU_RESOURCES = ("mem_mb", "runtime", "gpu", "token_budget", "expected_s")


def gpu_job(setup: Setup, model: str, work: Work, attempt: int = 1) -> dict[str, int]:
    """Return the GPU_RESOURCES of a job that loads a model.

    Memory and time grow with every attempt, and batches are halved, so that a batch too large for the GPU is not retried.

    Args:
        setup: the study.
        model: the model.
        work: work of the job.
        attempt: counts from 1.

    Returns:
        Resources by name: mem_mb, runtime in minutes, gpu, token_budget, and expected_s for plans.
    """
    n = gpus(setup, model)
    host = weights_bytes(setup, model) if n else peak_gpu_bytes(setup, model)
    expected = seconds(setup, model, work)
    return {
        "mem_mb": attempt * math.ceil(_PROCESS_MB + (host + work.host_bytes) / 1e6),
        "runtime": runtime(setup, _START_MIN + _MARGIN * expected / 60, attempt),
        "gpu": n,
        "token_budget": max(1, setup.study.runtime.token_budget >> (attempt - 1)),
        "expected_s": math.ceil(expected),
    }


def runtime(setup: Setup, minutes: float, attempt: int = 1) -> int:
    """Return the run time to request, in minutes: attempt × minutes, up to the cluster's limit."""
    return min(math.ceil(60 * setup.cluster.max_runtime_h), attempt * math.ceil(minutes))


def suppressed_questions(study: Study) -> int:
    """Return the number of selection questions that are answered again with each set of neurons suppressed."""
    selected = math.ceil(study.dataset(study.in_domain).questions * study.splits.selection)
    return min(study.probe.suppressed_questions, selected)


def probe_mem_mb(setup: Setup) -> int:
    """Return the host memory of jobs that fit probes: a setting, plus the Gram matrices of all rows for an L2 probe."""
    study = setup.study
    rows = 4 * study.examples.per_class if study.probe.penalty == "l2" else 0
    return math.ceil(_PROCESS_MB + 1000 * study.runtime.probe_memory_gb + 5 * 8 * rows**2 / 1e6)
