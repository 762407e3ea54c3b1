"""`hneurons serve`: the model behind an OpenAI-compatible endpoint whose replies carry the probe's scores."""

import socket
from typing import Annotated

import typer

from hneurons.cli import common
from hneurons.errors import HNeuronsError


def serve_command(
    model: common.ModelOption,
    neurons: common.NeuronsOption,
    host: Annotated[str, typer.Option(help="address to listen on; callers are not authenticated")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    name: Annotated[str | None, typer.Option(help="what clients call the model; its own name if left out")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="limit of replies to calls that set none")] = 512,
    force: common.ForceOption = False,
    thinking: common.ThinkingOption = False,
) -> None:
    """A small OpenAI-compatible server: each token of a reply comes with the probability that it is hallucinated.

    A page to try it in is at /, the API at /v1. Calls are answered one after the other.

    Example: `hneurons serve --model results/demo/smollm2-135m-instruct/checkpoint --neurons
    results/demo/smollm2-135m-instruct/published`
    """
    with common.one_line_errors():
        try:
            import uvicorn

            from hneurons.detection.server.app import create_app
        except ModuleNotFoundError as error:
            if error.name not in ("fastapi", "uvicorn"):
                raise
            raise HNeuronsError(f"serve needs {error.name}: pip install 'hneurons[serve]'") from None
        with _listening(host, port) as listener:
            from hneurons.detection.server.service import ChatService
            from hneurons.detection.token_probe import TokenProbe
            from hneurons.report.chat import chat_page

            loaded, neuron_set = common.load_both(model, neurons)
            probe = TokenProbe.from_set(neuron_set, loaded, strict=not force)
            called = name or str(neuron_set.made_by.get("model", model))
            service = ChatService(called, loaded, probe, common.tokenizer_of(loaded, thinking), max_new_tokens)
            app = create_app(service, chat_page(called, neuron_set, probe))
            address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
            typer.echo(f"{called} is served: a page at {address}/, the API at {address}/v1", err=True)
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
            server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """A socket on an address, before the model is loaded. Raises HNeuronsError if it is taken or not of this machine."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # A client that connects while the model is loaded waits, and another server cannot take the port.
        listener.listen()
    except OSError as error:
        raise HNeuronsError(f"cannot listen on {host}, port {port}: {error.strerror}; choose another --port") from None
    return listener
