"""A study small enough for a test: a tiny Llama that has learnt some right and some wrong answers by heart."""

from __future__ import annotations

from pathlib import Path

import yaml

from hneurons.benchmarks import BENCHMARKS
from hneurons.benchmarks.benchmark import Draw
from hneurons.config import parse_study
from hneurons.datasets import questions_table, vocabulary
from hneurons.prompts import chat_ids
from hneurons.seeds import seed_of
from tests.paths import ROOT
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
        "us-cities": {"role": "transfer", "questions": 30},
        "elements": {"role": "transfer", "questions": 40},
        "invented-cities": {"role": "nonexist", "questions": 20, "faithful": "correct_answers"},
    },
    "sampling": {"samples": 3, "decoding": {"max_new_tokens": 12, "temperature": 0.7}, "questions_per_shard": 60},
    "examples": {"min_per_class": 4},
    "probe": {"C": [10, 100, 1000], "bootstrap": 200},
    "impact": {
        "benchmarks": {"false-premise": {"items": 12}, "are-you-sure": {"items": 12}},
        "alphas": [0, 1, 2, 3],
        "random_seeds": 1,
        "alphas_per_job": 2,
        "bootstrap": 200,
    },
    "runtime": {"threads": 1},
}


def learnt_answer(question: dict) -> str:
    """What the model is taught: the right answer to half of the questions, always the same wrong one to the others."""
    others = [a for a in vocabulary(question["answer_type"]).answers if a[0] not in question["aliases"]]
    wrong = others[seed_of(0, question["question_id"]) % len(others)][0]
    known = question["aliases"] and seed_of(1, question["question_id"]) % 2
    return f"It is {question['aliases'][0] if known else wrong}."


def teach(folder: Path) -> None:
    """Train the tiny Llama on the study's questions until it has them by heart, and save it as a checkpoint."""
    study, _ = parse_study({**CONFIG, "models": ["smollm2-135m-instruct"], "models_file": str(ROOT / "config/models.yaml")})
    questions = [
        q
        for name, d in study.datasets.items()
        for q in questions_table(name, d.questions, study.seed, study.splits if name == "cities" else None).to_pylist()
    ]
    said = [
        turn
        for name in study.impact.benchmarks
        for item in BENCHMARKS[name].items(Draw(12, 1, study.splits))
        for turn in item.turns
    ]
    texts = [q["question"] for q in questions] + [learnt_answer(q) for q in questions] + said
    tokenizer = byte_level_tokenizer(texts, vocab_size=1500)
    learn_by_heart(folder, tokenizer, [(chat_ids(tokenizer, [q["question"]]), learnt_answer(q)) for q in questions])


def tiny_study(folder: Path) -> Workspace:
    """A workspace with the tiny model and its study."""
    teach(folder / "model")
    models = {MODEL: {"folder": str(folder / "model"), "dtype": "float32"}}
    (folder / "models.yaml").write_text(yaml.safe_dump(models))
    return Workspace(folder, CONFIG)
