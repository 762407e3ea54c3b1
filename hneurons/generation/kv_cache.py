"""Key-value caches: one that grows in place, single rows that let a conversation continue, and a shared prefix."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

# Keys and values of one conversation, by layer: each [heads, tokens, head size], without padding.
CachedRow = list[tuple[torch.Tensor, torch.Tensor]]

_SPARE_TOKENS = 32


class _RoomyLayer(DynamicLayer):
    """A cache layer with spare room, so that a new token or row does not copy all keys and values."""

    keys: torch.Tensor | None
    values: torch.Tensor | None
    # [rows + spare rows, heads, tokens + spare tokens, head size]
    _rooms: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Append keys and values, both [rows, heads, tokens, head size], and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, start = len(key_states), self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._rooms is None or end > self._rooms[0].shape[-2]:
            self._rooms = self._grown(rows, end + _SPARE_TOKENS, key_states, value_states)
        for room, new in zip(self._rooms, (key_states, value_states), strict=True):
            room[:rows, :, start:end] = new
        self._show(rows, end)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Make row i what row indices[i] is now ([new rows], on the CPU), copying only the rows that move."""
        assert self._rooms is not None, "the cache is empty"
        rows, end = len(indices), self.get_seq_length()
        if rows > len(self._rooms[0]):
            self._rooms = self._grown(rows + rows // 8, self._rooms[0].shape[-2], self.keys, self.values)
        moved = (indices != torch.arange(rows)).nonzero()[:, 0]
        sources, targets = (rows_.to(self._rooms[0].device) for rows_ in (indices[moved], moved))
        for room in self._rooms:
            room[targets, :, :end] = room[sources, :, :end]
        self._show(rows, end)

    def _grown(self, rows: int, width: int, *like: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Rooms of this size for what is in the cache, and more: keys and values of the shapes in `like`."""
        keys, values = (t.new_empty((rows, t.shape[1], width, t.shape[3])) for t in like if t is not None)
        for room, old in ((keys, self.keys), (values, self.values)):
            if old is not None and old.numel():
                room[: len(old), :, : old.shape[-2]] = old
        return keys, values

    def _show(self, rows: int, end: int) -> None:
        assert self._rooms is not None, "there is no room"
        self.keys, self.values = (room[:rows, :, :end] for room in self._rooms)


def new_cache(model: PreTrainedModel) -> DynamicCache:
    """Create an empty cache for a model, whose full-attention layers append in place."""
    cache = DynamicCache(config=model.config)
    cache.layers = [_RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def select_rows(cache: DynamicCache, indices: torch.Tensor) -> None:
    """Make row i of a cache what row indices[i] is now ([new rows], on the CPU), in every kind of layer."""
    for layer in cache.layers:
        if isinstance(layer, _RoomyLayer):
            layer.batch_select_indices(indices)
        else:
            # The states of linear attention move only by this one.
            layer.reorder_cache(indices)


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
        # Keys and values may differ in width (multi-head latent attention).
        keys, values = (t.new_zeros((len(rows), t.shape[0], width, t.shape[2])) for t in rows[0][index])
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
