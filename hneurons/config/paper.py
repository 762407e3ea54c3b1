"""The paper's results for its six models, for comparison (config/paper.yaml)."""

from pathlib import Path

from hneurons.config.base import Settings, parse_settings, read_yaml

# The four behaviours that the paper's slopes are averaged over.
BEHAVIOURS = ("falseqa", "faitheval", "sycophancy", "jailbreak")


class Accuracy(Settings):
    """Accuracy in percent, at threshold 0.5."""

    h_neurons: float
    random: float


class PaperModel(Settings):
    """The paper's results for one model.

    Attributes:
        permille: H-Neurons per thousand neurons.
        accuracy: detection accuracy by data set.
        transfer: AUROC by data set.
        drift: mean rank of the H-Neurons.
    """

    permille: float
    accuracy: dict[str, Accuracy]
    transfer: dict[str, float]
    drift: float


class Slopes(Settings):
    """Slopes in percentage points per unit of α, averaged over models and behaviours, for small and large models."""

    small: float
    large: float


class Paper(Settings):
    """The paper's results.

    Attributes:
        models: results by model.
        small, large: names of the small and of the large models.
        slopes: mean slopes of the α sweep.
    """

    models: dict[str, PaperModel]
    small: list[str]
    large: list[str]
    slopes: Slopes

    def accuracy(self, model: str, dataset: str) -> Accuracy | None:
        """Return the accuracy of a model on a data set, None if the paper does not report it."""
        return self.models[model].accuracy.get(dataset) if model in self.models else None

    def transfer(self, model: str, dataset: str) -> float | None:
        """Return the transfer AUROC of a model on a data set, None if the paper does not report it."""
        return self.models[model].transfer.get(dataset) if model in self.models else None

    def drift(self, model: str) -> float | None:
        """Return the mean rank of a model's H-Neurons, None if the paper does not report it."""
        return self.models[model].drift if model in self.models else None


def load_paper(path: str | Path) -> Paper:
    """Read the paper's results.

    Raises:
        HNeuronsError: one line, for a wrong key or value.
    """
    return parse_settings(Paper, read_yaml(path), str(path))
