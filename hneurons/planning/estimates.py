"""What each job needs, from the size of its model: GPUs, memory, run time, and bytes on disk.

Imported by the Snakefile, so nothing heavy may be imported here. Nothing here decides a result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hneurons.config.cluster import Speed
from hneurons.config.impact import TEST_QUESTIONS
from hneurons.config.setup import Setup
from hneurons.config.study import ReplyEstimate, Study

# Python, torch and a batch's rows in host memory.
_PROCESS_MB = 4000
# Of a GPU's memory, the share that weights, cache and activations may fill: the rest goes to the CUDA context and the gaps.
_USABLE = 0.92
# A request for time: this often the estimate, and this much for start and queueing on shared disks.
_MARGIN, _START_MIN = 2.0, 20


@dataclass(frozen=True)
class Work:
    """Tokens that a job reads in forward passes and tokens that it samples."""

    read: float
    new: float = 0.0


def weights_bytes(setup: Setup, model: str) -> int:
    """Bytes of a model's weights in the dtype that it is loaded in."""
    return setup.shapes[model].parameters * setup.models[model].bytes_per_weight


def peak_gpu_bytes(setup: Setup, model: str) -> int:
    """Weights, key-value cache of a full batch, logits of its rows, and what CETT holds of one layer in float32."""
    shape, study = setup.shapes[model], setup.study
    width, budget = setup.models[model].bytes_per_weight, study.runtime.token_budget
    cache = 2 * shape.layers * (shape.kv_width or shape.d_model) * width * budget
    rows = budget / (study.estimates.prompt_tokens + study.sampling.decoding.max_new_tokens)
    logits = rows * shape.vocabulary * (width + 4 + 4)
    layer = budget * (shape.d_ff * (width + 4 + 4) + 8 * shape.d_model * width)
    return round(weights_bytes(setup, model) + cache + max(logits, layer))


def gpus(setup: Setup, model: str) -> int:
    """GPUs of each job: as the models file says, or the power of two that holds weights and a batch."""
    said = setup.models[model].gpus
    if said is not None:
        return said
    needed = peak_gpu_bytes(setup, model) / (_USABLE * setup.cluster.gpu_memory_gb * 1e9)
    return int(2 ** max(0, math.ceil(math.log2(needed))))


def speed(setup: Setup, model: str) -> Speed:
    """Of one GPU, or of the CPU where a model asks for none, for a model of a billion parameters."""
    return setup.cluster.gpu_speed if gpus(setup, model) else setup.cluster.speeds["cpu"]


def load_seconds(setup: Setup, model: str) -> float:
    return 20 + weights_bytes(setup, model) / (setup.cluster.load_gb_per_s * 1e9)


def seconds(setup: Setup, model: str, work: Work) -> float:
    """Expected run time of a job, its loading of the model included."""
    rate, billions = speed(setup, model), setup.shapes[model].parameters / 1e9
    return load_seconds(setup, model) + billions * (work.read / rate.read_tokens_per_s + work.new / rate.new_tokens_per_s)


def _trained(study: Study) -> float:
    """Training questions: their share of all is that of their gold answers, nearly."""
    return study.dataset(study.in_domain).questions * study.splits.train


def expected_responses(setup: Setup, model: str, dataset: str) -> float:
    """How many responses are sampled of a set: several of training questions, one of the others (METHOD.md §1).

    The partner of a model is asked the questions of test splits alone.
    """
    study = setup.study
    questions = study.dataset(dataset).questions
    if dataset != study.in_domain:
        return questions
    if setup.is_partner(model):
        return questions * (1 - study.splits.train - study.splits.selection)
    return questions + (study.sampling.samples - 1) * _trained(study)


def expected_examples(setup: Setup, model: str, dataset: str) -> dict[str, float]:
    """Expected balanced examples of a set, by split: at most per_class of each class."""
    study, d = setup.study, setup.study.dataset(dataset)
    most, e = study.examples.per_class, study.estimates
    if d.role == "nonexist" and d.faithful == "correct_answers":
        return {"test": min(most, d.questions * (1 - e.decided))}
    if d.role != "in_domain":
        return {"test": 2 * min(most, d.questions * e.decided)}
    shares = {"selection": study.splits.selection, "test": 1 - study.splits.train - study.splits.selection}
    found = {split: 2 * min(most, d.questions * share * e.decided) for split, share in shares.items()}
    if setup.is_partner(model):
        return {"test": found["test"]}
    return {"train": 2 * min(most, _trained(study) * e.consistent), **found}


def cett_rows(examples_by_split: Mapping[str, float]) -> float:
    """Rows of a set's CETT shards: answer and other tokens of training examples, the answer alone of the others."""
    return sum(n * (2 if split == "train" else 1) for split, n in examples_by_split.items())


def cett_bytes(setup: Setup, model: str, rows: float) -> float:
    """float16 features of every neuron, uncompressed."""
    return rows * setup.shapes[model].neurons * 2


def reply_estimate(study: Study, benchmark: str) -> ReplyEstimate:
    """What an item of a benchmark costs at each α; test questions cost what they cost when they are sampled."""
    if benchmark == TEST_QUESTIONS:
        return ReplyEstimate(read=study.estimates.prompt_tokens, new=study.estimates.response_tokens)
    return {str(name): found for name, found in study.estimates.replies.items()}[benchmark]


def expected_work(setup: Setup, model: str, stage: str, of: str, alphas: int = 1) -> Work:
    """What one job of a GPU stage does. of: the data set or benchmark. alphas: how many α the job runs."""
    study, e = setup.study, setup.study.estimates
    if stage == "suppressed":
        # As many sets of neurons as values of C, at most.
        answers = suppressed_questions(study) * len(study.probe.C)
        return Work(answers * e.prompt_tokens, answers * e.response_tokens)
    if stage == "replies":
        per_item, items = reply_estimate(study, of), alphas * study.benchmarks[of].items
        return Work(items * per_item.read, items * per_item.new)
    if stage == "perplexity":
        return Work(study.impact.utility.tokens * (1 + len(study.neuron_sets) * len(study.scaled_alphas)))
    if stage == "scaled_cett":
        return Work(study.impact.utility.responses * len(study.impact.alphas) * (e.prompt_tokens + e.response_tokens))
    if stage == "tune_model":
        tuned = setup.models[model].finetune
        assert tuned is not None
        trained = min(tuned.lessons, expected_examples(setup, tuned.of, study.in_domain)["train"])
        # A backward pass costs two forward ones.
        return Work(3 * tuned.epochs * trained * (e.prompt_tokens + e.response_tokens))
    jobs = len(study.shards(of))
    if stage == "responses":
        asked = expected_responses(setup, model, of) if setup.is_partner(model) else study.dataset(of).questions
        return Work(asked * e.prompt_tokens / jobs, expected_responses(setup, model, of) * e.response_tokens / jobs)
    count = sum(expected_examples(setup, model, of).values())
    return Work(count * (e.prompt_tokens + e.response_tokens) / jobs)


def gpu_job(setup: Setup, model: str, stage: str, of: str, alphas: int = 1, attempt: int = 1) -> dict[str, int]:
    """mem_mb, runtime (minutes), gpu and token_budget of a job that loads the model.

    Memory and time grow with every attempt, and batches halve, so that one that did not fit a GPU is not tried again.
    """
    n = gpus(setup, model)
    host = weights_bytes(setup, model) if n else peak_gpu_bytes(setup, model)
    shards = (
        cett_bytes(setup, model, cett_rows(expected_examples(setup, model, of))) / len(setup.study.shards(of))
        if stage == "cett"
        else 0
    )
    minutes = _START_MIN + _MARGIN * seconds(setup, model, expected_work(setup, model, stage, of, alphas)) / 60
    return {
        # A shard's features are there as float32 and as float16.
        "mem_mb": attempt * math.ceil(_PROCESS_MB + (host + 3 * shards) / 1e6),
        "runtime": runtime(setup, minutes, attempt),
        "gpu": n,
        "token_budget": max(1, setup.study.runtime.token_budget >> (attempt - 1)),
    }


def runtime(setup: Setup, minutes: float, attempt: int = 1) -> int:
    """Minutes to ask for: no more than the cluster gives, whatever the attempt."""
    return min(math.ceil(60 * setup.cluster.max_runtime_h), attempt * math.ceil(minutes))


def suppressed_questions(study: Study) -> int:
    """Questions of the selection split that are asked once more for every set of neurons."""
    return min(
        study.probe.suppressed_questions, math.ceil(study.dataset(study.in_domain).questions * study.splits.selection)
    )


def probe_mem_mb(setup: Setup) -> int:
    """Host memory of the jobs that fit probes: a setting, whatever the model; an L2 probe multiplies all rows as well."""
    study = setup.study
    rows = 4 * study.examples.per_class if study.probe.penalty == "l2" else 0
    return math.ceil(_PROCESS_MB + 1000 * study.runtime.probe_memory_gb + 5 * 8 * rows**2 / 1e6)
