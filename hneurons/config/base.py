"""Base of all configuration: names, strict types, and one-line errors that say which key is wrong and why."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from hneurons.errors import HNeuronsError, machine_failure

SLUG = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
Slug = Annotated[str, StringConstraints(pattern=f"^{SLUG}$", max_length=64)]


class Settings(BaseModel):
    """Base of all settings. Unknown keys are errors, and values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


SettingsType = TypeVar("SettingsType", bound=Settings)


class HubSource(Settings):
    """A Hugging Face repository, pinned to a commit."""

    id: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make the dictionary of a JSON object. Raises ValueError if a key occurs twice."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        repeated = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise ValueError(f"key {repeated!r} occurs twice")
    return dict(pairs)


class RepeatedKeyError(Exception):
    """A key that occurs twice in one mapping of a YAML file.

    Attributes:
        key: the key, as it is written.
        lines: the two lines, from 1.
    """

    def __init__(self, key: str, lines: tuple[int, int]) -> None:
        super().__init__(key)
        self.key, self.lines = key, lines


class _UniqueKeyLoader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Before merges (<<) are resolved, because those may repeat a key.
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"):
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise RepeatedKeyError(key.value, (lines[name], line))
            lines[name] = line
        return node


def read_yaml(path: str | Path, key: str = "") -> Any:
    """Read a YAML file.

    Args:
        path: the file.
        key: the setting that names the file, for errors.

    Raises:
        HNeuronsError: one line, if the file does not exist, is not valid YAML, or has a key twice in one mapping.
    """
    if not Path(path).is_file():
        name = f"{key}: {path}" if key else str(path)
        raise HNeuronsError(f"{name} does not exist; run from the project's root or give its path")
    try:
        # As bytes, so that a byte order mark names the encoding.
        data = Path(path).read_bytes()
        # JSON is YAML, except for tabs; what is wrong with it is reported by YAML, with its line.
        with suppress(ValueError):
            return json.loads(data, object_pairs_hook=unique_keys)
        return yaml.load(data, _UniqueKeyLoader)
    except RepeatedKeyError as error:
        first, again = error.lines
        raise HNeuronsError(f"{path}, line {again}: key {error.key!r} is already in line {first}; keep one") from None
    except OSError as error:
        raise HNeuronsError(machine_failure(error, path) or f"{path}: cannot be read: {error}") from None
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        raise HNeuronsError(f"{path}: no valid YAML: {' '.join(str(error).split())}") from None


def parse_settings(kind: type[SettingsType], data: Any, source: str) -> SettingsType:
    """Validate settings.

    Args:
        kind: class of the settings.
        data: what to validate.
        source: where the data comes from, for errors.

    Raises:
        HNeuronsError: one line, naming every key that is wrong.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise HNeuronsError(describe_errors(kind, error, source)) from None


def describe_errors(model: type[Settings], error: ValidationError, source: str) -> str:
    """Describe all problems of a configuration in one line.

    Args:
        model: class of the settings.
        error: the error that validation raised.
        source: where the settings come from.

    Returns:
        Source, then for each problem its key, what is wrong, and the allowed keys or the value.
    """
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        if problem["type"] == "extra_forbidden":
            parent = _model_at(model, problem["loc"][:-1])
            allowed = f"; allowed keys: {', '.join(parent.model_fields)}" if parent else ""
            problems.append(f"{key}: unknown key{allowed}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            # The value of api_key_env may be the secret key itself, entered by mistake.
            shown = not isinstance(problem["input"], dict) and not key.endswith("api_key_env")
            value = f" (got {problem['input']!r})" if shown else ""
            problems.append(f"{key + ': ' if key else ''}{message}{value}")
    return f"{source}: " + " | ".join(problems)


def _model_at(model: Any, loc: tuple[Any, ...]) -> Any:
    """Settings class at a location in the configuration, to list its keys; None outside of settings."""
    for part in loc:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return None
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return model
