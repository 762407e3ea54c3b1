"""The engine of a model in a study."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from hneurons.config.setup import parse_study
from hneurons.generation.engine import Engine, LocalEngine
from hneurons.models.prepared import PreparedModel


def engine_for_study(
    config: dict[str, Any], model: str, manifest: str, gpus: int, token_budget: int
) -> AbstractContextManager[Engine]:
    """Open the engine that the models file configures for a model; a server is stopped when the block ends.

    Args:
        config: the study's configuration.
        model: the model's name in the models file.
        manifest: path of the prepared model's manifest.
        gpus: number of GPUs of the job.
        token_budget: tokens per batch of a `LocalEngine`.
    """
    setup, prepared = parse_study(config), PreparedModel(manifest, gpus)
    parse = setup.study.control_tokens == "parse"
    settings = setup.models[model].engine
    if settings is None:
        return nullcontext(LocalEngine(prepared, token_budget, parse, setup.study.runtime.steps_per_look))
    # Imported here because the client of a server takes half a second to import.
    from hneurons.generation.served import ServerEngine

    return ServerEngine(settings, prepared, gpus, parse)
