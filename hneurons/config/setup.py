"""A study with everything that its settings name, checked before anything runs.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hneurons.config.base import describe_errors
from hneurons.config.cluster import ClusterSettings, load_cluster
from hneurons.config.models import ModelSettings, Shape, load_models, shape_of_model
from hneurons.config.study import Study
from hneurons.errors import HNeuronsError


@dataclass(frozen=True)
class Setup:
    """A checked study with what its settings name: its models, their bases among them, and the cluster."""

    study: Study
    models: dict[str, ModelSettings]
    shapes: dict[str, Shape]
    cluster: ClusterSettings

    @property
    def partners(self) -> dict[str, str]:
        """Model → the one that it is compared with: that it was tuned from, or that was tuned from it (origin.tuned)."""
        if self.study.origin is None:
            return {}
        forward = {self.models[name].tuned_from: name for name in self.study.origin.tuned}
        pairs = {name: forward.get(name) or self.models[name].tuned_from for name in self.study.models}
        return {name: partner for name, partner in pairs.items() if partner}

    def is_partner(self, model: str) -> bool:
        """Whether a model is there to be compared alone: it is asked the test questions only, and has no probe."""
        return model not in self.study.models

    def is_tuned(self, model: str) -> bool:
        """Whether a partner was tuned from the study's model: the comparison goes forward."""
        return self.study.origin is not None and model in self.study.origin.tuned

    def prompting(self, model: str) -> str:
        """How a model is asked, and what: "chat" everything, "chat-test" and "base" the questions of test splits."""
        if not self.is_partner(model):
            return "chat"
        return "chat-test" if self.is_tuned(model) else "base"

    def datasets_of(self, model: str) -> list[str]:
        """The sets of questions that a model answers."""
        if not self.is_partner(model):
            return [str(name) for name in self.study.datasets]
        return [str(name) for name in self.study.origin.datasets] if self.study.origin else []


def parse_study(config: dict[str, Any], where: str = "config") -> Setup:
    """The checked study, the settings of its models, and its cluster.

    Raises HNeuronsError, one line, for an unknown key, a wrong value, an unknown model or a file that is missing.
    """
    try:
        study = Study.model_validate(config)
    except ValidationError as error:
        raise HNeuronsError(describe_errors(Study, error, where)) from None
    catalogue = load_models(Path(study.models_file))
    models = {}
    for name in study.models:
        models[name] = _of_catalogue(catalogue, name, f"{where}: models", study.models_file)
    for name in study.models:
        if models[name].finetune:
            raise HNeuronsError(f"{where}: models: {name} is tuned on the study's own answers: name it under origin.tuned")
    if study.origin:
        models |= _partners(study, models, catalogue, where)
    shapes = {name: shape_of_model(name, model) for name, model in models.items()}
    for name, model in models.items():
        if (base := model.tuned_from) in shapes and (shapes[name].layers, shapes[name].d_ff) != (
            shapes[str(base)].layers,
            shapes[str(base)].d_ff,
        ):
            raise HNeuronsError(f"{study.models_file}: {name}: its base {base} has other layers or another d_ff")
    return Setup(study, models, shapes, load_cluster(Path(study.cluster_file)))


def _partners(
    study: Study, models: dict[str, ModelSettings], catalogue: dict[str, ModelSettings], where: str
) -> dict[str, ModelSettings]:
    """The models that those of a study are compared with. Raises HNeuronsError for a pair that is none."""
    assert study.origin is not None
    found: dict[str, ModelSettings] = {}
    forward: dict[str, str] = {}
    for name in study.origin.tuned:
        model = _of_catalogue(catalogue, name, f"{where}: origin.tuned", study.models_file)
        base = model.tuned_from
        if name in study.models or base not in study.models:
            raise HNeuronsError(
                f"{where}: origin.tuned: {name} must be tuned from one of the models (it names {base} as base)"
            )
        if forward.setdefault(base, name) != name:
            raise HNeuronsError(f"{where}: origin.tuned: {forward[base]} and {name} are both tuned from {base}; name one")
        found[name] = model
    for name in study.models:
        if (base := models[name].tuned_from) and name not in forward:
            if base in study.models:
                raise HNeuronsError(f"{where}: models: {base} is the base of {name}; under models it would be chatted with")
            found[base] = _of_catalogue(catalogue, base, f"{study.models_file}: {name}.base", study.models_file)
    if not found:
        raise HNeuronsError(f"{where}: origin: none of the models names its base in {study.models_file}")
    return found


def _of_catalogue(catalogue: dict[str, ModelSettings], name: str, where: str, path: str) -> ModelSettings:
    if name not in catalogue:
        raise HNeuronsError(f"{where}: unknown model {name!r}; {path} has: {', '.join(sorted(catalogue))}")
    return catalogue[name]
