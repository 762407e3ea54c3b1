"""Key-value caches: one that appends in place, single rows that let a conversation continue, and a shared prefix."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

# Keys and values of one conversation, by layer: each [heads, tokens, head size], without padding.
CachedRow = list[tuple[torch.Tensor, torch.Tensor]]


class _RoomyLayer(DynamicLayer):
    """A cache layer that appends into spare room instead of copying all keys and values for every new token."""

    keys: torch.Tensor | None
    values: torch.Tensor | None
    _keys_room: torch.Tensor | None = None
    _values_room: torch.Tensor | None = None

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Append keys and values, both [rows, heads, tokens, head size], and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._keys_room is None or self._values_room is None or end > self._keys_room.shape[-2]:
            self._keys_room = self._grown(self.keys, key_states, start, end)
            self._values_room = self._grown(self.values, value_states, start, end)
        self._keys_room[:, :, start:end] = key_states
        self._values_room[:, :, start:end] = value_states
        self.keys, self.values = self._keys_room[:, :, :end], self._values_room[:, :, :end]
        return self.keys, self.values

    @staticmethod
    def _grown(old: torch.Tensor | None, new: torch.Tensor, start: int, end: int) -> torch.Tensor:
        room = new.new_empty((*new.shape[:2], end + 32, new.shape[-1]))
        if start and old is not None:
            room[:, :, :start] = old
        return room

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row `repeats` times."""
        super().batch_repeat_interleave(repeats)
        self._keys_room = self._values_room = None

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only the rows with these indices."""
        super().batch_select_indices(indices)
        self._keys_room = self._values_room = None


def new_cache(model: PreTrainedModel) -> DynamicCache:
    """Create an empty cache for a model, whose full-attention layers append in place."""
    cache = DynamicCache(config=model.config)
    cache.layers = [_RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def attends_to_all(cache: DynamicCache) -> bool:
    """Tell whether all layers attend to everything before them, which padding in the middle of a row requires."""
    return all(type(layer) is _RoomyLayer for layer in cache.layers)


def cached_row(cache: DynamicCache, mask: torch.Tensor, row: int, tokens: int) -> CachedRow:
    """Extract the first tokens of one row of a batch's cache, without padding.

    Args:
        cache: the cache of the batch.
        mask: its attention mask [rows, width], 0 at padding.
        row: index of the row.
        tokens: how many tokens to extract.
    """
    slots = mask[row].nonzero()[:tokens, 0]
    extracted = []
    for layer in cache.layers:
        layer_slots = slots.to(layer.keys.device)
        extracted.append((layer.keys[row, :, layer_slots], layer.values[row, :, layer_slots]))
    return extracted


def batch_cache(model: PreTrainedModel, rows: Sequence[CachedRow]) -> tuple[DynamicCache, torch.Tensor]:
    """Combine rows into the cache of a batch, padded on the left; returns it and its mask [rows, width]."""
    cache = new_cache(model)
    lengths = [row[0][0].shape[1] for row in rows]
    width = max(lengths)
    for index, layer in enumerate(cache.layers):
        first = rows[0][index][0]
        keys, values = (first.new_zeros((len(rows), first.shape[0], width, first.shape[2])) for _ in range(2))
        for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            keys[i, :, width - length :], values[i, :, width - length :] = row[index]
        layer.update(keys, values)
    mask = torch.arange(width)[None] >= width - torch.tensor(lengths)[:, None]
    return cache, mask.long().to(model.device)


class _PrefixLayer(DynamicLayer):
    """A prefix that all rows of a batch share; what follows it is attended to once and not kept."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> Any:
        """Return the prefix followed by the new keys and values, without storing them."""
        rows = len(key_states)
        keys, values = (t.expand(rows, -1, -1, -1) for t in (self.keys, self.values))
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)


def as_prefix(model: PreTrainedModel, read: DynamicCache) -> DynamicCache:
    """Make a reusable cache in which every row of any batch begins with a prefix.

    Args:
        model: the model that computed the prefix.
        read: the cache of the prefix, with one row.
    """
    cache = DynamicCache(config=model.config)
    cache.layers = [_PrefixLayer(layer.keys, layer.values) for layer in read.layers]
    return cache


def shared_prefix_length(rows: Sequence[list[Any]]) -> int:
    """Count the first elements that all rows share, leaving every row at least one element after them."""
    first, last = min(rows), max(rows)  # in lexicographic order: a prefix of these two is a prefix of all
    longest = min(map(len, rows)) - 1
    return next((i for i in range(longest) if first[i] != last[i]), longest)
