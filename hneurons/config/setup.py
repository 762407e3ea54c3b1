"""A study with its models and cluster, checked before anything runs.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hneurons.config.base import parse_settings
from hneurons.config.cluster import ClusterSettings, load_cluster
from hneurons.config.models import ModelSettings, Shape, load_models, shape_of_model
from hneurons.config.study import Study
from hneurons.config.weights import is_packed
from hneurons.errors import HNeuronsError


@dataclass(frozen=True)
class Setup:
    """A checked study with its models and cluster.

    Attributes:
        study: settings of the study.
        models: settings of its models and of their partners.
        shapes: sizes of all these models.
        cluster: settings of the cluster.
    """

    study: Study
    models: dict[str, ModelSettings]
    shapes: dict[str, Shape]
    cluster: ClusterSettings

    @property
    def partners(self) -> dict[str, str]:
        """Model → the model it is compared with: its base, or a model tuned from it (origin.tuned)."""
        if self.study.origin is None:
            return {}
        forward = {self.models[name].tuned_from: name for name in self.study.origin.tuned}
        pairs = {name: forward.get(name) or self.models[name].tuned_from for name in self.study.models}
        return {name: partner for name, partner in pairs.items() if partner}

    def is_partner(self, model: str) -> bool:
        """Whether a model serves only for comparison: it answers only test questions and has no probe."""
        return model not in self.study.models

    def is_tuned(self, model: str) -> bool:
        """Whether a partner was tuned from a model of the study, so that the comparison is forward."""
        return self.study.origin is not None and model in self.study.origin.tuned

    def prompting(self, model: str) -> str:
        """Return how a model is prompted, and with which questions.

        Returns:
            "chat" (chat template, all questions), "chat-test" (chat template, test questions) or "base" (no chat
            template, test questions).
        """
        if not self.is_partner(model):
            return "chat"
        return "chat-test" if self.is_tuned(model) else "base"

    def datasets_of(self, model: str) -> list[str]:
        """Return the data sets that a model answers."""
        if not self.is_partner(model):
            return [str(name) for name in self.study.datasets]
        return [str(name) for name in self.study.origin.datasets] if self.study.origin else []


def parse_study(config: dict[str, Any], source: str = "config") -> Setup:
    """Check a study, and read the settings of its models and its cluster.

    Args:
        config: content of the study's configuration file.
        source: where it comes from, for errors.

    Raises:
        HNeuronsError: one line, for an unknown key, a wrong value, an unknown model or a missing file.
    """
    study = parse_settings(Study, config, source)
    catalogue = load_models(Path(study.models_file))
    models = {name: _of_catalogue(catalogue, name, f"{source}: models", study.models_file) for name in study.models}
    for name, model in models.items():
        if model.finetune:
            raise HNeuronsError(f"{source}: models: {name} is tuned on the study's own answers; list it under origin.tuned")
    if study.origin:
        models |= _partners(study, models, catalogue, source)
    shapes = {name: shape_of_model(name, model) for name, model in models.items()}
    for name, model in models.items() if study.origin else ():
        if model.folder and is_packed(Path(model.folder).expanduser()):
            raise HNeuronsError(
                f"{study.models_file}: {name}: drift of packed weights cannot be measured; leave out origin"
            )
    for name, model in models.items():
        if model.finetune and model.finetune.of in models and models[model.finetune.of].thinking == "on":
            raise HNeuronsError(
                f"{study.models_file}: {name}: {model.finetune.of} thinks, so it cannot be tuned on its answers"
            )
        shape, base = shapes[name], str(model.tuned_from)
        if base in shapes and (shape.layers, shape.d_ff) != (shapes[base].layers, shapes[base].d_ff):
            raise HNeuronsError(f"{study.models_file}: {name}: its base {base} has a different number of layers or d_ff")
    return Setup(study, models, shapes, load_cluster(Path(study.cluster_file)))


def _partners(
    study: Study, models: dict[str, ModelSettings], catalogue: dict[str, ModelSettings], source: str
) -> dict[str, ModelSettings]:
    """Settings of the models that those of a study are compared with. Raises HNeuronsError for an invalid pair."""
    assert study.origin is not None
    partners: dict[str, ModelSettings] = {}
    forward: dict[str, str] = {}
    for name in study.origin.tuned:
        model = _of_catalogue(catalogue, name, f"{source}: origin.tuned", study.models_file)
        base = model.tuned_from
        if name in study.models or base not in study.models:
            raise HNeuronsError(f"{source}: origin.tuned: {name} must be tuned from one of the models (its base is {base})")
        if forward.setdefault(base, name) != name:
            raise HNeuronsError(f"{source}: origin.tuned: {forward[base]} and {name} both have the base {base}; list one")
        partners[name] = model
    for name in study.models:
        if (base := models[name].tuned_from) and name not in forward:
            if base in study.models:
                raise HNeuronsError(f"{source}: models: {base} is the base of {name}; as a model it would get chat prompts")
            partners[base] = _of_catalogue(catalogue, base, f"{study.models_file}: {name}.base", study.models_file)
    if not partners:
        raise HNeuronsError(f"{source}: origin: none of the models has a base in {study.models_file}")
    return partners


def _of_catalogue(catalogue: dict[str, ModelSettings], name: str, source: str, path: str) -> ModelSettings:
    if name not in catalogue:
        raise HNeuronsError(f"{source}: unknown model {name!r}; {path} has: {', '.join(sorted(catalogue))}")
    return catalogue[name]
