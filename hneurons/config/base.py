"""What all configuration shares: names, strict types, and errors that say in one line what is wrong and where."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

SLUG = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
Slug = Annotated[str, StringConstraints(pattern=f"^{SLUG}$", max_length=64)]


class Settings(BaseModel):
    """Base of all settings: an unknown key is an error, values cannot change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class HubSource(Settings):
    """A Hugging Face repository, pinned to a commit."""

    id: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


def describe_errors(model: type[Settings], error: ValidationError, where: str) -> str:
    """All problems of a configuration in one line, each with its key and what is allowed."""
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        if problem["type"] == "extra_forbidden":
            parent = _model_at(model, problem["loc"][:-1])
            allowed = f"; allowed keys: {', '.join(parent.model_fields)}" if parent else ""
            problems.append(f"{key}: unknown key{allowed}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            # What stands where the name of a key's variable belongs may be the key itself.
            shown = not isinstance(problem["input"], dict) and not key.endswith("api_key_env")
            given = f" (got {problem['input']!r})" if shown else ""
            problems.append(f"{key + ': ' if key else ''}{message}{given}")
    return f"{where}: " + " | ".join(problems)


def _model_at(model: Any, loc: tuple[Any, ...]) -> Any:
    """The settings class at a place in the configuration, to list its keys; None where there is none."""
    for part in loc:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return None
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return model
