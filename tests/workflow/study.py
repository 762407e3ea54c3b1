"""A study small enough for a test: a tiny Llama that has learnt some right and some wrong answers by heart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from hneurons.benchmarks import BENCHMARKS
from hneurons.benchmarks.benchmark import Draw
from hneurons.config import parse_study
from hneurons.datasets import questions_table, vocabulary
from hneurons.prompts import chat_ids
from hneurons.seeds import seed_of
from tests.paths import ROOT
from tests.tiny import byte_level_tokenizer

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
    torch.manual_seed(0)
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
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=160,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            tie_word_embeddings=True,
        )
    )
    rows, targets = [], []
    for q in questions:
        prompt = chat_ids(tokenizer, [q["question"]])
        answer = [*tokenizer(learnt_answer(q), add_special_tokens=False)["input_ids"], 2]
        rows.append([*prompt, *answer])
        targets.append([-100] * len(prompt) + answer)
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    labels = torch.tensor([t + [-100] * (width - len(t)) for t in targets])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(400):
        loss = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.02:
            break
    assert loss.item() < 0.1, f"the tiny model did not learn its answers: loss {loss.item():.3f}"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class Workspace:
    """A folder with the project's workflow and the tiny study, where snakemake runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Snakefile", "rules", "workflow_scripts", "report", "environment.yml"):
            (folder / name).symlink_to(ROOT / name)
        teach(folder / "model")
        models = {MODEL: {"folder": str(folder / "model"), "dtype": "float32"}}
        (folder / "models.yaml").write_text(yaml.safe_dump(models))
        (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
        self.results = folder / "results/tiny"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--configfile", "config.yaml", "--cores", "2", *arguments]

    def run(self, *arguments: str) -> str:
        """Run snakemake to its end; its output. Fails the test if it fails."""
        done = subprocess.run(self.command(*arguments), cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def planned(self, *arguments: str) -> list[str]:
        """Rules of the jobs that a dry run plans, `all` aside."""
        said = self.run("--dry-run", *arguments)
        rules = [line.split()[-1].rstrip(":") for line in said.splitlines() if line.startswith(("rule ", "localrule "))]
        assert rules or "Nothing to be done" in said, said
        return sorted(rule for rule in rules if rule != "all")

    def kill_during(self, target: str, begun: Callable[[], bool]) -> None:
        """Start making a target and kill snakemake and its job with SIGKILL as soon as the job has begun."""
        process = subprocess.Popen(
            self.command(target),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while not begun():
            assert process.poll() is None, f"{target} was made before it could be killed"
            assert time.monotonic() < deadline, f"{target} was not begun in time"
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
