"""The paper's own numbers, to stand beside ours where a model is one of its six (config/paper.yaml)."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from hneurons.config.base import Settings, describe_errors
from hneurons.errors import HNeuronsError


class Accuracy(Settings):
    """In percent, at threshold 0.5."""

    h_neurons: float
    random: float


class PaperModel(Settings):
    """permille: H-Neurons of a thousand neurons. transfer: AUROC by data set. drift: mean rank of the H-Neurons."""

    permille: float
    accuracy: dict[str, Accuracy]
    transfer: dict[str, float]
    drift: float


class Slopes(Settings):
    """Points per unit α, averaged over models and behaviours."""

    small: float
    large: float


class Paper(Settings):
    models: dict[str, PaperModel]
    small: list[str]
    large: list[str]
    slopes: Slopes

    def accuracy(self, model: str, dataset: str) -> Accuracy | None:
        found = self.models.get(model)
        return found.accuracy.get(dataset) if found else None

    def transfer(self, model: str, dataset: str) -> float | None:
        found = self.models.get(model)
        return found.transfer.get(dataset) if found else None

    def drift(self, model: str) -> float | None:
        found = self.models.get(model)
        return found.drift if found else None


def load_paper(path: str | Path) -> Paper:
    """Raises HNeuronsError, one line, for a key or value that is wrong."""
    try:
        return Paper.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except ValidationError as error:
        raise HNeuronsError(describe_errors(Paper, error, str(path))) from None
