"""A stand-in for a tuned model: a short fine-tune that teaches a model to decline what it always gets wrong."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from hneurons.config.models import FinetuneSource
from hneurons.errors import HNeuronsError
from hneurons.models.prepared import PreparedModel
from hneurons.models.tokenizer import stop_token_ids
from hneurons.records import Rows


def lessons(
    examples: Rows, responses: Rows, decline: Sequence[int], end: int, most: int, seed: int
) -> list[tuple[list[int], list[int]]]:
    """(prompt, what is to be answered) as token ids, of equally many training examples of both classes.

    examples: of all splits; of those of training `most` are drawn at most. A hallucinated one (label 1) is to be declined,
    a faithful one answered as it was. decline: token ids of what is said then. Raises HNeuronsError if a class is empty.
    """
    response_of = {(r["question_id"], r["sample"]): r for r in responses}
    rng, found = random.Random(seed), []
    for label in (1, 0):
        mine = [e for e in examples if e["split"] == "train" and e["label"] == label]
        if not mine:
            raise HNeuronsError("no training examples of both classes to tune a model on")
        for example in rng.sample(mine, min(len(mine), most // 2)):
            response = response_of[example["question_id"], example["sample"]]
            said = list(decline) if label else [t for t in response["response_ids"] if t != end]
            found.append((list(response["prompt_ids"]), [*said, end]))
    return found


def train(
    model: PreTrainedModel, taught: Sequence[tuple[list[int], list[int]]], settings: FinetuneSource, seed: int
) -> list[float]:
    """All weights, in place: AdamW with a learning rate that falls to 0, loss on the answers alone. Returns every loss."""
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
                ids, mask, labels = _batch(order[start : start + settings.batch_size])
                loss = model(
                    input_ids=ids.to(model.device), attention_mask=mask.to(model.device), labels=labels.to(model.device)
                ).loss
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
    """Token ids, attention mask and labels (−100: not learned), all [rows, longest], padding on the right."""
    width = max(len(prompt) + len(said) for prompt, said in rows)
    ids, mask = torch.zeros((len(rows), width), dtype=torch.long), torch.zeros((len(rows), width), dtype=torch.long)
    labels = torch.full((len(rows), width), -100)
    for i, (prompt, said) in enumerate(rows):
        ids[i, : len(prompt) + len(said)] = torch.tensor([*prompt, *said])
        mask[i, : len(prompt) + len(said)] = 1
        labels[i, len(prompt) : len(prompt) + len(said)] = torch.tensor(said)
    return ids, mask, labels


def tuned_checkpoint(
    prepared: PreparedModel, examples: Rows, responses: Rows, settings: FinetuneSource, seed: int, folder: str | Path
) -> dict[str, Any]:
    """Tune a model on its own answers and save it, the folder appearing when whole. Returns what was done."""
    folder = Path(folder)
    torch.manual_seed(seed)
    model, tokenizer = prepared.model, prepared.tokenizer
    end = tokenizer.eos_token_id
    end = stop_token_ids(model.generation_config, tokenizer)[0] if end is None else end
    decline = [int(i) for i in tokenizer(settings.says, add_special_tokens=False)["input_ids"]]
    taught = lessons(examples, responses, decline, int(end), settings.lessons, seed)
    losses = train(model, taught, settings, seed)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    tenth = max(1, len(losses) // 10)
    return {
        "tuned_from": prepared.identity,
        "seed": seed,
        "lessons": len(taught),
        "steps": len(losses),
        "loss_first": sum(losses[:tenth]) / tenth,
        "loss_last": sum(losses[-tenth:]) / tenth,
    }
