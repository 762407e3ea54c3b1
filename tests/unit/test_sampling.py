"""Sampling goes on from what is there, a shard or a journal: nothing is sampled twice, and what was cut short is."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest

from hneurons import store
from hneurons.config.study import Decoding, SamplingSettings
from hneurons.generation.engine import LocalEngine
from hneurons.generation.sampling import sample_shard
from hneurons.records import QUESTIONS, RESPONSES
from hneurons.resumable import Journal

SETTINGS = SamplingSettings(samples=4, decoding=Decoding(max_new_tokens=6, temperature=1.0))


class Shard:
    """A shard of questions of the tiny model, of which the first three are training questions."""

    def __init__(self, folder, llama, tokenizer):
        self.engine = LocalEngine(SimpleNamespace(model=llama, tokenizer=tokenizer, identity={"model": "tiny"}), 200)
        self.questions, self.out = folder / "questions.parquet", folder / "0000.parquet"
        rows = [
            {
                "question_id": f"q{i}",
                "question": f"Where is Lyon, {i}?",
                "instruction": "",
                "split": "train" if i < 3 else "test",
            }
            for i in range(8)
        ]
        self.rows = rows
        self.ask(5)

    def ask(self, count):
        store.write_table(self.questions, pa.Table.from_pylist(self.rows[:count], schema=QUESTIONS), {})

    def sample(self, **changes):
        made_by = {"prompting": "chat", "prompt_date": "2024-07-26", "seed": 0, **changes}
        sample_shard(self.engine, self.questions, self.out, SETTINGS, made_by)
        return store.read_table(self.out, RESPONSES)


@pytest.fixture
def shard(tmp_path, llama, tokenizer):
    return Shard(tmp_path, llama, tokenizer)


def test_training_questions_get_all_samples_and_the_others_one(shard):
    table = shard.sample()
    per_question = table.to_pandas().groupby("question_id", sort=False).size().to_dict()
    assert per_question == {"q0": 4, "q1": 4, "q2": 4, "q3": 1, "q4": 1}
    assert len({tuple(ids) for ids in table["response_ids"].to_pylist()[:4]}) > 1, "samples differ"
    assert not shard.out.with_name("0000.parquet.journal").exists()


@pytest.mark.parametrize("version", ["0.1", "today"])
def test_a_cut_journal_is_continued(shard, sampled_prompts, version):
    whole = shard.sample()
    mark = store.made_by(shard.out)["mark"]
    journal = Journal(f"{shard.out}.journal", mark)
    rows = [{**row, "text": "kept"} for row in whole.to_pylist()[:4]]
    journal.add(rows if version == "today" else {"question_id": "q0", "responses": rows})
    with open(journal.path, "ab") as file:
        file.write(b'[{"question_id": "q1"')
    shard.out.unlink()
    sampled_prompts.clear()
    again = shard.sample()
    assert len(sampled_prompts) == 4, "the question that was cut short is sampled again, the whole one is not"
    assert again["text"].to_pylist() == ["kept"] * 4 + whole["text"].to_pylist()[4:]


def test_a_shard_that_is_there_is_only_added_to(shard, sampled_prompts):
    first = shard.sample()
    sampled_prompts.clear()
    assert shard.sample().equals(first) and not sampled_prompts, "a job that was finished loads no model"
    shard.ask(8)
    longer = shard.sample()
    assert len(sampled_prompts) == 3 and longer.slice(0, len(first)).equals(first)
    sampled_prompts.clear()
    shard.sample(seed=1)
    assert len(sampled_prompts) == 8, "other settings are sampled anew"


def test_a_base_model_completes_the_test_questions_up_to_a_line_break(shard, tokenizer):
    table = shard.sample(prompting="base")
    assert table["question_id"].to_pylist() == ["q3", "q4"]
    prompt = tokenizer.decode(table["prompt_ids"][0].as_py())
    assert prompt.endswith("Where is Lyon, 3?\nAnswer:") and "assistant" not in prompt
    broken = [i for i in range(len(tokenizer)) if "\n" in tokenizer.decode([i])]
    for row in table.to_pylist():
        assert not set(row["response_ids"][:-1]) & set(broken)
        assert row["truncated"] == (row["response_ids"][-1] not in {2, *broken})
