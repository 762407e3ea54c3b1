"""The detector on any response: identities with the probe first, then what it says, then faults."""

from __future__ import annotations

import copy
import dataclasses
import json
import unicodedata

import numpy as np
import pytest
import torch
from scipy.special import expit

from hneurons.cett.measure import cett_batch
from hneurons.cett.regions import TokenRegions
from hneurons.cett.tokens import token_cett
from hneurons.detection.detected import NoDetection
from hneurons.detection.detector import detect, detect_many
from hneurons.detection.requests import DetectionRequest, parse_requests
from hneurons.detection.token_probe import HIGHEST_TOKENS
from hneurons.errors import HNeuronsError
from hneurons.generation.prompts import ends_of_reply, newline_ids, prompt_ids
from hneurons.models.decoder import model_identity
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.detections import write_detections_page
from tests.tiny import tiny_model

QUESTION = "In which country is the city of Lyon?"
RESPONSE = "The city of Lyon is in France, near 東京."


def neurons_of(model, n=12, **made):
    """A set with weights of both signs, in no order of layers."""
    shape = model_identity(model)
    rng = np.random.default_rng(0)
    flat = rng.choice(shape["layers"] * shape["d_ff"], n, replace=False)
    weights = rng.normal(size=n)
    facts = {**shape, "intercept": -0.5, "C": 1.0, **made}
    return NeuronSet(flat // shape["d_ff"], flat % shape["d_ff"], weights, weights > 0, facts)


def test_cett_at_every_token_averages_to_cett_of_the_region(any_model):
    rng = np.random.default_rng(1)
    sequences = [rng.integers(5, 60, size).tolist() for size in (9, 6, 13)]
    shape = model_identity(any_model)
    chosen = {layer: [1, 0, shape["d_ff"] - 1] for layer in range(shape["layers"])}
    found = token_cett(any_model, sequences, chosen, [4, 1, 5])
    for ids, (values, logprobs), n in zip(sequences, found, [4, 1, 5], strict=True):
        region = [i >= 3 for i in range(len(ids))]
        (whole,) = cett_batch(any_model, [TokenRegions(ids, [region])])
        expected = np.concatenate([whole[0, layer, indices] for layer, indices in chosen.items()])
        np.testing.assert_allclose(values[3:].mean(axis=0), expected, rtol=2e-4, atol=1e-6)
        with torch.inference_mode():
            predicted = any_model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=-1)
        of_tokens = [float(predicted[i - 1, ids[i]]) for i in range(len(ids) - n, len(ids))]
        np.testing.assert_allclose(logprobs, of_tokens, rtol=1e-4, atol=1e-4)


def test_the_response_is_the_probe_on_its_answers_mean_features(llama, tokenizer):
    neurons = neurons_of(llama)
    found = detect(llama, neurons, QUESTION, RESPONSE, answer="France", tokenizer=tokenizer)
    prompt, response = prompt_ids(tokenizer, QUESTION), tokenizer(RESPONSE, add_special_tokens=False)["input_ids"]
    region = [False] * len(prompt) + found.answer.tolist()
    (features,) = cett_batch(llama, [TokenRegions([*prompt, *response], [region])])
    logit = features[0, neurons.layers, neurons.neurons] @ neurons.weights - 0.5
    assert found.probability == pytest.approx(expit(logit), rel=1e-4)
    assert found.logit == pytest.approx(found.token_logits[found.answer].mean())
    np.testing.assert_allclose(found.token_logits, found.contributions.sum(axis=1) - 0.5, rtol=1e-5)


def test_the_combined_detector_adds_the_models_confidence(llama, tokenizer):
    weights = {"probe": 0.5, "mean": -1.0, "minimum": -0.25, "intercept": 0.1}
    neurons = neurons_of(llama, combined=weights)
    found = detect(llama, neurons, QUESTION, RESPONSE, answer="France", tokenizer=tokenizer)
    mean, minimum = found.logprobs[found.answer].mean(), found.logprobs[found.answer].min()
    assert found.confidence == pytest.approx((mean, minimum)) and minimum <= mean < 0
    logit = 0.1 + 0.5 * found.logit - mean - 0.25 * minimum
    assert found.combined_probability == pytest.approx(expit(logit))
    assert found.as_dict()["combined_probability"] == found.combined_probability
    plain = detect(llama, neurons_of(llama), QUESTION, RESPONSE, answer="France", tokenizer=tokenizer)
    assert plain.combined_probability is None and plain.probability == found.probability


def test_neurons_keep_their_weights_whatever_their_order(llama, tokenizer):
    neurons = neurons_of(llama)
    order = np.random.default_rng(3).permutation(12)
    turned = dataclasses.replace(
        neurons, **{f: getattr(neurons, f)[order] for f in ("layers", "neurons", "weights", "selected", "stability")}
    )
    one, other = (detect(llama, s, QUESTION, RESPONSE, tokenizer=tokenizer) for s in (neurons, turned))
    assert one.logit == pytest.approx(other.logit)


def test_tokens_make_up_the_response_and_the_answer_is_what_was_named(llama, tokenizer):
    found = detect(llama, neurons_of(llama), QUESTION, RESPONSE, answer="France", tokenizer=tokenizer)
    assert "".join(found.tokens) == RESPONSE == found.response
    named = "".join(t for t, mine in zip(found.tokens, found.answer, strict=True) if mine)
    assert "France" in named and len(named) < len("France") + 4
    assert found.answer_given


def test_without_a_name_the_highest_tokens_stand_for_the_answer(llama, tokenizer):
    found = detect(llama, neurons_of(llama), QUESTION, RESPONSE, tokenizer=tokenizer)
    assert found.answer.sum() == HIGHEST_TOKENS and not found.answer_given
    assert found.token_logits[found.answer].min() >= found.token_logits[~found.answer].max()


def test_a_model_without_a_chat_template_completes_up_to_the_line_break(llama, tokenizer):
    base = copy.deepcopy(tokenizer)
    base.chat_template = None
    given = detect(llama, neurons_of(llama), QUESTION, "France.", tokenizer=base)
    assert given.response.strip() == "France." and len(given.tokens) == len(given.token_logits)
    own = detect(llama, neurons_of(llama), QUESTION, tokenizer=base, max_new_tokens=40)
    assert "\n" not in own.response.rstrip("\n")
    assert set(newline_ids(base)) <= set(ends_of_reply(llama, base))


def test_many_are_as_one_by_one(any_model, tokenizer):
    neurons = neurons_of(any_model)
    asked = [
        DetectionRequest(question=QUESTION, response=RESPONSE, answer="France"),
        DetectionRequest(question="What?", response="Nothing."),
        DetectionRequest(question=QUESTION),
    ]
    together = list(detect_many(any_model, neurons, asked, tokenizer=tokenizer, max_new_tokens=5))
    for one, found in zip(asked, together, strict=True):
        options = {"answer": one.answer, "tokenizer": tokenizer, "max_new_tokens": 5}
        alone = detect(any_model, neurons, one.question, one.response, **options)
        assert alone.response == found.response
        np.testing.assert_allclose(alone.token_logits, found.token_logits, rtol=1e-3, atol=1e-4)


def test_what_json_says_is_what_was_found(llama, tokenizer):
    found = detect(llama, neurons_of(llama), QUESTION, RESPONSE, answer="France", tokenizer=tokenizer)
    said = json.loads(json.dumps(found.as_dict(count=2)))
    assert said["probability"] == found.probability and said["answer_named"]
    assert [t["text"] for t in said["tokens"]] == found.tokens
    strongest = said["tokens"][0]["neurons"]
    assert len(strongest) == 2 and abs(strongest[0]["contribution"]) >= abs(strongest[1]["contribution"])


def test_the_page_escapes_what_it_quotes(llama, tokenizer, tmp_path):
    neurons = neurons_of(llama)
    found = detect(llama, neurons, "<script>alert(1)</script>", "<b>bold</b>", tokenizer=tokenizer)
    write_detections_page(tmp_path / "page.html", [found], neurons)
    page = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_a_silent_answer_ends_nothing_but_itself(llama, tokenizer, monkeypatch):
    from hneurons.detection import live

    real = live.generate

    def silent_on_atlantis(model, prompts, decoding, *, watch, **options):
        silent = next(i for i, ids in enumerate(prompts) if "Atlantis" in tokenizer.decode(ids))

        def of_others(read):
            others = read.responses != silent
            fields = ("responses", "rows", "token_ids", "logprobs")
            watch(dataclasses.replace(read, **{name: getattr(read, name)[others] for name in fields}))

        for index, (response,) in real(model, prompts, decoding, watch=of_others, **options):
            yield index, [dataclasses.replace(response, token_ids=[2], logprobs=[0.0]) if index == silent else response]

    monkeypatch.setattr(live, "generate", silent_on_atlantis)
    requests = [DetectionRequest(question=f"Where is {place}?") for place in ("Lyon", "Atlantis", "Rome")]
    requests.append(DetectionRequest(question="Where is Nice?", response="</s>", answer="/s"))
    requests.append(DetectionRequest(question="Where is Bonn?", answer="\u2603\u2603"))
    results = list(detect_many(llama, neurons_of(llama), requests, tokenizer=tokenizer, max_new_tokens=3))
    assert [isinstance(result, NoDetection) for result in results] == [False, True, False, False, True]
    assert results[1].as_dict() == {
        "question": "Where is Atlantis?",
        "response": "",
        "probability": None,
        "why": "the model's response is empty; give a response",
    }
    assert results[3].response == "</s>", "a control token in a response is text"
    assert "does not occur in the response" in results[4].why
    with pytest.raises(HNeuronsError, match=r"'Where is Atlantis\?': the model's response is empty; give a response"):
        detect(llama, neurons_of(llama), "Where is Atlantis?", tokenizer=tokenizer)


def test_an_answer_may_be_written_in_another_form(llama, tokenizer):
    response = unicodedata.normalize("NFD", "São Paulo is in Brazil.")
    forms = (unicodedata.normalize(form, "São Paulo") for form in ("NFC", "NFD"))
    neurons = neurons_of(llama)
    first, second = (detect(llama, neurons, "Where?", response, answer=form, tokenizer=tokenizer).answer for form in forms)
    assert first.tolist() == second.tolist() and first.any()


def test_an_answer_that_is_not_there_is_refused(llama, tokenizer):
    with pytest.raises(HNeuronsError, match="answer 'Spain' does not occur in the response"):
        detect(llama, neurons_of(llama), QUESTION, RESPONSE, answer="Spain", tokenizer=tokenizer)


def test_neurons_without_weights_and_of_another_model_are_refused(llama, tokenizer):
    neurons = neurons_of(llama)
    with pytest.raises(HNeuronsError, match="no probe weights"):
        detect(llama, neurons.random_like(1), QUESTION, RESPONSE, tokenizer=tokenizer)
    other = dataclasses.replace(neurons, made_by={**neurons.made_by, "revision": "0" * 40})
    named = tiny_model("llama")
    named.hneurons_identity = {"revision": "1" * 40}
    with pytest.raises(HNeuronsError, match="revision 0000"):
        detect(named, other, QUESTION, RESPONSE, tokenizer=tokenizer)
    assert detect(named, other, QUESTION, RESPONSE, tokenizer=tokenizer, strict=False).tokens


def test_lines_are_json_or_plain_questions_and_carry_other_keys():
    lines = ['{"id": 3, "question": "Who?", "response": "He."}', "", "Where is Lyon?"]
    first, second = parse_requests(lines, "file")
    assert first.other_keys == {"id": 3} and first.response == "He."
    assert second.question == "Where is Lyon?" and second.response is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": ', "file, line 1: no valid JSON"),
        ('{"response": "He."}', "file, line 1: needs either question or messages"),
    ],
)
def test_a_line_that_is_neither_is_named(line, said):
    with pytest.raises(HNeuronsError, match=said):
        list(parse_requests([line], "file"))
