"""A study with everything that its settings name, checked before anything runs.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hneurons.cluster_config import ClusterSettings, load_cluster
from hneurons.config import Study
from hneurons.errors import HNeuronsError
from hneurons.model_config import ModelSettings, Shape, load_models, shape_of_model
from hneurons.settings import one_line


@dataclass(frozen=True)
class Setup:
    """A checked study with what its settings name: its models, their bases among them, and the cluster."""

    study: Study
    models: dict[str, ModelSettings]
    shapes: dict[str, Shape]
    cluster: ClusterSettings

    @property
    def bases(self) -> dict[str, str]:
        """Model → the model that it was tuned from, for those of the study that are compared with theirs."""
        if self.study.origin is None:
            return {}
        return {name: base for name in self.study.models if (base := self.models[name].base)}

    def is_base(self, model: str) -> bool:
        return model not in self.study.models

    def datasets_of(self, model: str) -> list[str]:
        """The sets of questions that a model answers."""
        if not self.is_base(model):
            return [str(name) for name in self.study.datasets]
        return [str(name) for name in self.study.origin.datasets] if self.study.origin else []


def parse_study(config: dict[str, Any], where: str = "config") -> Setup:
    """The checked study, the settings of its models, and its cluster.

    Raises HNeuronsError, one line, for an unknown key, a wrong value, an unknown model or a file that is missing.
    """
    try:
        study = Study.model_validate(config)
    except ValidationError as error:
        raise HNeuronsError(one_line(Study, error, where)) from None
    catalogue = load_models(Path(study.models_file))
    models = {}
    for name in study.models:
        models[name] = _of_catalogue(catalogue, name, f"{where}: models", study.models_file)
    for name in study.models if study.origin else ():
        if base := models[name].base:
            if base in study.models:
                raise HNeuronsError(f"{where}: models: {base} is the base of {name}; under models it would be chatted with")
            models[base] = _of_catalogue(catalogue, base, f"{study.models_file}: {name}.base", study.models_file)
    if study.origin and len(models) == len(study.models):
        raise HNeuronsError(f"{where}: origin: none of the models names its base in {study.models_file}")
    shapes = {name: shape_of_model(name, model) for name, model in models.items()}
    for name, model in models.items():
        if model.base in shapes and (shapes[name].layers, shapes[name].d_ff) != (
            shapes[model.base].layers,
            shapes[model.base].d_ff,
        ):
            raise HNeuronsError(f"{study.models_file}: {name}: its base {model.base} has other layers or another d_ff")
    return Setup(study, models, shapes, load_cluster(Path(study.cluster_file)))


def _of_catalogue(catalogue: dict[str, ModelSettings], name: str, where: str, path: str) -> ModelSettings:
    if name not in catalogue:
        raise HNeuronsError(f"{where}: unknown model {name!r}; {path} has: {', '.join(sorted(catalogue))}")
    return catalogue[name]
