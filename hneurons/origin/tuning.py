"""A short fine-tune that stands in for a tuned model: it learns to decline the questions that it always gets wrong."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import PreTrainedModel

from hneurons import store
from hneurons.config.models import FinetuneSource
from hneurons.errors import HNeuronsError
from hneurons.models.prepared import PreparedModel
from hneurons.models.tokenizer import stop_token_ids
from hneurons.records import Rows


def lessons(
    examples: Rows, responses: Rows, decline: Sequence[int], end: int, max_lessons: int, seed: int
) -> list[tuple[list[int], list[int]]]:
    """Draw training examples of both classes to tune a model on, at most half of `max_lessons` from each.

    The answer to a hallucinated example (label 1) is to decline; a faithful one (label 0) keeps its answer.

    Args:
        examples: the labelled examples of all splits.
        responses: the sampled responses.
        decline: token ids of the answer that declines.
        end: the end token.
        max_lessons: upper bound for the number of pairs.
        seed: of the draw.

    Returns:
        Pairs (prompt, answer) of token ids.

    Raises:
        HNeuronsError: a class has no training examples.
    """
    response_of = {(r["question_id"], r["sample"]): r for r in responses}
    rng, pairs = random.Random(seed), []
    for label in (1, 0):
        candidates = [e for e in examples if e["split"] == "train" and e["label"] == label]
        if not candidates:
            raise HNeuronsError(f"no training examples with label {label}: tuning a model needs both classes")
        for example in rng.sample(candidates, min(len(candidates), max_lessons // 2)):
            response = response_of[example["question_id"], example["sample"]]
            answer = list(decline) if label else [t for t in response["response_ids"] if t != end]
            pairs.append((list(response["prompt_ids"]), [*answer, end]))
    return pairs


def train(
    model: PreTrainedModel, taught: Sequence[tuple[list[int], list[int]]], settings: FinetuneSource, seed: int
) -> list[float]:
    """Train all weights in place: AdamW with a learning rate that falls linearly to 0, and the loss on answers only.

    Args:
        model: the loaded model.
        taught: pairs (prompt, answer) of token ids, from `lessons`.
        settings: epochs, batch size and learning rate.
        seed: of the order of the pairs in each epoch.

    Returns:
        The loss of every step.
    """
    steps_per_epoch = -(-len(taught) // settings.batch_size)
    steps = settings.epochs * steps_per_epoch
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    rng, losses = random.Random(seed), []
    model.train()
    with tqdm(total=steps, desc="tuning", unit="step") as progress:
        for _ in range(settings.epochs):
            order = rng.sample(list(taught), len(taught))
            for start in range(0, len(order), settings.batch_size):
                batch = _batch(order[start : start + settings.batch_size])
                ids, mask, labels = (tensor.to(model.device) for tensor in batch)
                loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                losses.append(float(loss.detach()))
                progress.update()
    model.eval()
    return losses


def _batch(rows: Sequence[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, attention mask and labels (−100: ignored by the loss), all [rows, longest row], padded on the right."""
    ids = [torch.tensor([*prompt, *answer]) for prompt, answer in rows]
    mask = [torch.ones_like(row) for row in ids]
    labels = [torch.tensor([-100] * len(prompt) + answer) for prompt, answer in rows]
    return pad_sequence(ids, True), pad_sequence(mask, True), pad_sequence(labels, True, padding_value=-100)


def tuned_checkpoint(
    prepared: PreparedModel, examples: Rows, responses: Rows, settings: FinetuneSource, seed: int, folder: str | Path
) -> dict[str, Any]:
    """Tune a model on the answers that it gave and save it; the folder appears only once it is complete.

    Args:
        prepared: the model to tune.
        examples: its labelled examples.
        responses: its sampled responses.
        settings: of the fine-tune.
        seed: of the choice and order of the training pairs.
        folder: the checkpoint folder to write.

    Returns:
        The facts for the manifest: the original model, the seed, the numbers of pairs and steps, and the mean loss of the
        first and of the last tenth of the steps.
    """
    torch.manual_seed(seed)
    model, tokenizer = prepared.model, prepared.tokenizer
    end = tokenizer.eos_token_id
    end = stop_token_ids(model.generation_config, tokenizer)[0] if end is None else end
    decline = [int(i) for i in tokenizer(settings.says, add_special_tokens=False)["input_ids"]]
    taught = lessons(examples, responses, decline, int(end), settings.lessons, seed)
    losses = train(model, taught, settings, seed)
    with store.atomic_folder(folder) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
    tenth = max(1, len(losses) // 10)
    return {
        "tuned_from": prepared.identity,
        "seed": seed,
        "lessons": len(taught),
        "steps": len(losses),
        "loss_first": sum(losses[:tenth]) / tenth,
        "loss_last": sum(losses[-tenth:]) / tenth,
    }
