"""What is asked of every engine on the demo's model, so that their answers can be compared."""

from __future__ import annotations

import datetime
from dataclasses import replace

from hneurons.config.study import Decoding
from hneurons.generation.engine import Conversation, Prompt
from hneurons.generation.prompts import base_ids, base_text, chat_ids
from hneurons.impact.benchmarks import BENCHMARKS
from hneurons.impact.benchmarks.benchmark import ItemDraw

TODAY = datetime.date(2024, 7, 26)
CITIES = ["Lyon", "Osaka", "Porto", "Bergen", "Nairobi", "Quito", "Hanoi", "Dakar"]
GREEDY = Decoding(max_new_tokens=20, temperature=0)
WARM = Decoding(max_new_tokens=12, temperature=1.0, top_k=50, top_p=0.9)
NEURONS = {0: list(range(0, 1536, 16)), 12: list(range(0, 1536, 8)), 29: list(range(5, 1536, 16))}


def prompts(tokenizer):
    """Eight chat prompts and two texts to complete."""
    questions = [f"In which country is the city of {city}?" for city in CITIES]
    chat = [Prompt(chat_ids(tokenizer, [q], TODAY), q) for q in questions]
    return [*chat, *(Prompt(base_ids(tokenizer, q), base_text(q), base=True) for q in questions[:2])]


def in_order(answered):
    """Responses to each input, in the order of the inputs."""
    found = {i: responses for batch, answers in answered for i, responses in zip(batch, answers, strict=True)}
    return [found[i] for i in sorted(found)]


def texts(engine, answered):
    return [[engine.tokenizer.decode(r.token_ids, skip_special_tokens=True) for r in rs] for rs in in_order(answered)]


def sampled(engine, scaling=None):
    """Greedy answers to the prompts, as texts."""
    asked = [replace(prompt, scaling=scaling) for prompt in prompts(engine.tokenizer)]
    return texts(engine, engine.sample(asked, GREEDY, 1))


def held(engine):
    """Replies in three conversations of several turns, as texts."""
    items = BENCHMARKS["are-you-sure"].items(ItemDraw(3, 1))
    conversations = [Conversation(item.turns, [0] * len(item.turns), GREEDY) for item in items]
    return texts(engine, engine.converse(conversations, TODAY))
