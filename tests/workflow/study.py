"""A study small enough for a test: a tiny Llama that has learnt some right and some wrong answers by heart."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from hneurons.config.study import Study
from hneurons.data.catalogue import VOCABULARIES, questions_table, vocabulary_of
from hneurons.data.questions import prompt_of
from hneurons.data.sources import benchmark_files, dataset_files
from hneurons.generation.prompts import base_ids, chat_ids
from hneurons.impact.benchmarks import BENCHMARKS
from hneurons.impact.benchmarks.benchmark import ItemDraw
from hneurons.models.tokenizer import with_thinking
from hneurons.seeds import seed_of
from tests.tiny import byte_level_tokenizer, learn_by_heart
from tests.workspace import Workspace

MODEL = "tiny-llama"
CONFIG = {
    "study": "tiny",
    "seed": 1,
    "models_file": "models.yaml",
    "models": [MODEL],
    "datasets": {
        "cities": {"role": "in_domain", "questions": 120},
        "elements": {"role": "transfer", "questions": 40},
        "invented-cities": {"role": "nonexist", "questions": 20, "faithful": "correct_answers"},
    },
    "sampling": {"samples": 3, "decoding": {"max_new_tokens": 12, "temperature": 0.7}, "questions_per_shard": 60},
    "examples": {"min_per_class": 4},
    "probe": {"C": [10, 100, 1000], "suppressed_questions": 12, "resamples": 2, "random_seeds": 10},
    "impact": {
        "benchmarks": {"false-premise": {"items": 12}, "are-you-sure": {"items": 12}},
        "alphas": [0, 1, 2, 3],
        "random_seeds": 1,
        "alphas_per_job": 2,
        "sets_per_job": 2,
        "utility": {"questions": 10, "tokens": 512, "responses": 8},
    },
    "runtime": {"threads": 1},
}


def learnt_answer(question: dict[str, Any], golds: Sequence[str]) -> str:
    """What the model is taught: the right answer to half of the questions, always the same wrong one to the others.

    golds: answers of the study's open questions, of which the wrong ones are taken. Half of what does not exist is unknown.
    """
    kind, known = question["answer_type"], seed_of(1, question["question_id"]) % 2
    if kind == "none" and known:
        return "I do not know."
    others = [a[0] for a in vocabulary_of(kind).answers] if kind in VOCABULARIES else golds
    wrong = [a for a in others if a not in question["aliases"]]
    right = question["aliases"] and known
    return f"It is {question['aliases'][0] if right else wrong[seed_of(0, question['question_id']) % len(wrong)]}."


def tiny_study(
    folder: Path,
    config: dict[str, Any] = CONFIG,
    models: dict[str, dict[str, Any]] | None = None,
    architecture: dict[str, Any] | None = None,
    thoughts: str = "",
) -> Workspace:
    """A workspace with a study and tiny models that have the answers to all of its questions by heart.

    models: name → further keys of the models file; one that another names as its base has learnt to complete answers.
    architecture: `kind` and sizes of the models, else tiny Llamas.
    thoughts: what they write before each answer, if their template opens thoughts.
    """
    models = models or {MODEL: {}}
    entries = {name: {"folder": str(folder / name), "dtype": "float32", **more} for name, more in models.items()}
    (folder / "models.yaml").write_text(yaml.safe_dump(entries))
    study = Study.model_validate(config)
    questions = []
    for name, d in study.datasets.items():
        splits = study.splits if name == study.in_domain else None
        questions += questions_table(name, slice(d.questions), study.seed, splits, dataset_files(study, name)).to_pylist()
    said = []
    for name, b in study.impact.benchmarks.items():
        draw = ItemDraw(b.items, study.seed, study.splits, tuple(map(Path, benchmark_files(study, name))))
        said += [turn for item in BENCHMARKS[name].items(draw) for turn in item.turns]
    golds = sorted({q["aliases"][0] for q in questions if q["answer_type"] == "open"})
    answers = [learnt_answer(q, golds) for q in questions]
    answers = [thoughts + answer for answer in answers]
    tokenizer = byte_level_tokenizer([prompt_of(q) for q in questions] + answers + said, vocab_size=1500)
    if thoughts:
        tokenizer.chat_template = tokenizer.chat_template.replace(
            "assistant\n{% endif %}", "assistant\n<think>\n{% endif %}"
        )
    for seed, name in enumerate(models):
        if name in {more.get("base") for more in models.values()}:
            prompts = [base_ids(tokenizer, prompt_of(q)) for q in questions]
            pairs = [(prompt, f" {answer}\n") for prompt, answer in zip(prompts, answers, strict=True)]
        else:
            chat = with_thinking(copy.deepcopy(tokenizer)) if thoughts else tokenizer
            prompts = [chat_ids(chat, [prompt_of(q)], study.prompt_date) for q in questions]
            pairs = list(zip(prompts, answers, strict=True))
        learn_by_heart(folder / name, tokenizer, pairs, seed=seed, **(architecture or {}))
    return Workspace(folder, config)
