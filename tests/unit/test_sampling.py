"""Sampling goes on from its journal: what is there is not sampled again, and what was cut short is."""

from __future__ import annotations

from hneurons import store
from hneurons.config import Decoding, SamplingSettings
from hneurons.sampling import sample_questions

QUESTIONS = [
    {"question_id": f"q{i}", "question": f"Where is Lyon, {i}?", "split": "train" if i < 3 else "test"} for i in range(5)
]
SETTINGS = SamplingSettings(samples=4, decoding=Decoding(max_new_tokens=6, temperature=1.0))


def sample(llama, tokenizer, path):
    return sample_questions(llama, tokenizer, QUESTIONS, SETTINGS, seed=0, token_budget=200, journal=path, mark="same")


def test_training_questions_get_all_samples_and_the_others_one(llama, tokenizer, tmp_path):
    table, journal = sample(llama, tokenizer, tmp_path / "j")
    per_question = table.to_pandas().groupby("question_id", sort=False).size().to_dict()
    assert per_question == {"q0": 4, "q1": 4, "q2": 4, "q3": 1, "q4": 1}
    assert len({tuple(ids) for ids in table["response_ids"].to_pylist()[:4]}) > 1, "samples differ"
    journal.remove()
    assert not (tmp_path / "j").exists()


def test_a_cut_journal_is_continued(llama, tokenizer, tmp_path):
    path = tmp_path / "j"
    whole, journal = sample(llama, tokenizer, path)
    lines = path.read_bytes().split(b"\n")
    kept = lines[1].replace(b'"text": "', b'"text": "kept ')
    path.write_bytes(b"\n".join([lines[0], kept, lines[2][: len(lines[2]) // 2]]))
    again, _ = sample(llama, tokenizer, path)
    texts = again["text"].to_pylist()
    assert sum(text.startswith("kept ") for text in texts) == kept.count(b"kept ") > 0
    assert [t.removeprefix("kept ") for t in texts] == whole["text"].to_pylist()
    assert store.Journal(path, "same").rows
    journal.remove()
