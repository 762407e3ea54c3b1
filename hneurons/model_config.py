"""The catalogue of models: where each comes from and how it is loaded.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator

from hneurons.errors import HNeuronsError
from hneurons.settings import SLUG, HubSource, Settings, Slug, one_line


class WheelSource(Settings):
    """A GGUF file inside a PyPI wheel: for machines that reach a package index and no model hub."""

    package: Slug
    version: Annotated[str, StringConstraints(pattern=r"^[0-9][0-9A-Za-z.]*$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    gguf: str


class ModelSettings(Settings):
    """Where a model comes from (exactly one of hub, folder, wheel) and how it is loaded."""

    hub: HubSource | None = None
    folder: str | None = None
    wheel: WheelSource | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    device_map: str | None = Field(None, description="as in transformers; null loads on the GPU if there is one")
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> ModelSettings:
        if sum(source is not None for source in (self.hub, self.folder, self.wheel)) != 1:
            raise ValueError("name exactly one source: hub, folder or wheel")
        return self


def load_models(path: Path) -> dict[str, ModelSettings]:
    """All models of a models file. Raises HNeuronsError naming the model and key that is wrong."""
    if not path.is_file():
        raise HNeuronsError(f"models_file: {path} does not exist; run from the project's root or give its path")
    try:
        entries = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise HNeuronsError(f"{path}: no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(entries, dict):
        raise HNeuronsError(f"{path}: must map model names to their settings")
    models = {}
    for name, settings in entries.items():
        try:
            models[_checked_slug(name, path)] = ModelSettings.model_validate(settings)
        except ValidationError as error:
            raise HNeuronsError(one_line(ModelSettings, error, f"{path}: {name}")) from None
    return models


def _checked_slug(name: Any, path: Path) -> str:
    if not isinstance(name, str) or not re.fullmatch(SLUG, name):
        raise HNeuronsError(f"{path}: model name {name!r} must be lower-case letters and digits, joined by . _ or -")
    return name
