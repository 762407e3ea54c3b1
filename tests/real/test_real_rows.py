"""The demo's model on published rows, asked and judged, read from a mirror folder: 200 of NQ-Open, 100 of FalseQA."""

from __future__ import annotations

import pytest
import yaml

from hneurons import store
from hneurons.records import EXAMPLES, QUESTIONS, REPLIES, RUNS, SPANS, VERDICTS
from tests.paths import ROOT, shared
from tests.real.conftest import NAME
from tests.workspace import Workspace

CONFIG = yaml.safe_load((ROOT / "config/real-rows.yaml").read_text())

WANTED = [
    f"results/real-rows/{NAME}/{path}" for path in ("examples/nq-open.parquet", "impact/falseqa/untouched/alpha=1.parquet")
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, manifest):
    """The study of config/real-rows.yaml; the model is the one that the other tests fetched."""
    mirror = shared("datasets")
    folder = tmp_path_factory.mktemp("real-rows")
    (folder / "models.yaml").write_text(
        yaml.safe_dump({NAME: {"folder": str(manifest.parent / "weights"), "dtype": "float32"}})
    )
    workspace = Workspace(folder, {**CONFIG, "models_file": "models.yaml", "mirror": str(mirror)})
    workspace.run(*WANTED)
    return workspace


def test_two_hundred_questions_of_nq_open(workspace):
    results = workspace.results
    questions = store.read_table(results / "questions/nq-open.parquet", QUESTIONS)
    assert questions.num_rows == 200 and set(questions["split"].to_pylist()) == {"test"}
    assert list(store.made_by(results / "questions/nq-open/0000.parquet")["files"]) == [
        str(shared("datasets/nq_open_dev.jsonl"))
    ]
    verdicts = store.read_table(results / NAME / "verdicts/nq-open/0000.parquet", VERDICTS).to_pandas()
    assert len(verdicts) == 200 and set(verdicts["judge"]) == {"rules"}
    assert {"correct", "incorrect"} <= set(verdicts["verdict"]) <= {"correct", "incorrect", "refused", "unparsed"}
    spans = store.read_table(results / NAME / "spans/nq-open/0000.parquet", SPANS).to_pandas()
    examples = store.read_table(results / NAME / "examples/nq-open.parquet", EXAMPLES).to_pandas()
    assert set(examples["question_id"]) <= set(spans["question_id"])
    assert set(spans["extractor"]) == {"rules"}
    assert set(examples["label"]) == {0, 1} and examples["label"].value_counts().min() >= 2


def test_a_hundred_questions_of_falseqa(workspace):
    folder = workspace.results / NAME
    replies = store.read_table(folder / "replies/falseqa/untouched/alpha=1.parquet", REPLIES).to_pandas()
    judged = store.read_table(folder / "impact/falseqa/untouched/alpha=1.parquet", RUNS).to_pandas()
    assert list(replies["item_id"]) == list(judged["item_id"]) and len(judged) == 100
    rate = judged["compliant"][judged["eligible"]].mean()
    assert 0.01 < rate < 0.99, "neither accepted nor rejected throughout"
    assert replies["tokens"].explode().max() <= 48


def test_a_changed_judge_reruns_no_generation(workspace):
    llm = "{llm: {model: m, max_judge_calls: 100000}, correctness: llm, spans: llm, falseqa: llm}"
    planned = workspace.planned(*WANTED, "--config", f"judges={llm}")
    assert not {"responses", "untouched", "prepare_model"} & set(planned)
    assert {"verdicts", "spans", "judge_untouched"} <= set(planned)


def test_the_paper_is_planned_as_far_as_the_mirror_reaches(workspace):
    """What the folder lacks is named in one line each; a real run refuses."""
    datasets = {
        "triviaqa": {"role": "in_domain", "questions": 1000},
        "nq-open": {"role": "transfer", "questions": 500},
        "bioasq": {"role": "transfer", "questions": 500},
        "nonexist": {"role": "nonexist", "questions": 100},
    }
    benchmarks = {name: {"items": 10} for name in ("falseqa", "faitheval", "sycophancy", "jailbreak")}
    paper = {**workspace.config, "study": "paper", "datasets": datasets, "impact": {"benchmarks": benchmarks}}
    (workspace.folder / "paper.yaml").write_text(yaml.safe_dump(paper))
    said = workspace.run("--dry-run", "--configfile", "paper.yaml")
    missing = [line for line in said.splitlines() if line.startswith("missing, so not planned: ")]
    assert sorted(line.split(": ")[1] for line in missing) == ["bioasq", "faitheval", "sycophancy", "triviaqa"]
    for name in ("questions/nq-open", "questions/nonexist", "benchmarks/falseqa", "benchmarks/jailbreak"):
        assert f"results/paper/{name}.parquet" in said
    assert "replies/jailbreak/untouched" in said and "probe" not in said
    refused = workspace.refused("--configfile", "paper.yaml")
    assert "error: files are missing for bioasq, triviaqa, faitheval, sycophancy; put them there" in refused
    assert not (workspace.folder / "results/paper").exists()
    own = {
        **paper,
        "datasets": {**datasets, "triviaqa": {**datasets["triviaqa"], "file": "triviaqa_validation500_aliases.jsonl"}},
    }
    own["datasets"]["triviaqa"]["questions"] = 500
    (workspace.folder / "paper.yaml").write_text(yaml.safe_dump(own))
    said = workspace.run("--dry-run", "--configfile", "paper.yaml")
    assert "probe/neurons.parquet" in said and "figures/table1.png" in said
