"""What a client may ask of the server: chat completions in the OpenAI form. What would not be obeyed is refused."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from hneurons.config.base import Settings
from hneurons.config.study import Decoding
from hneurons.generation.requests import Message, PromptRequest

_NOT_OBEYED = ("top_logprobs", "presence_penalty", "frequency_penalty", "stop", "logit_bias")


class StreamOptions(Settings):
    """Options of a streamed reply."""

    include_usage: bool = False


class ChatCall(Settings):
    """The body of POST /v1/chat/completions.

    Attributes:
        model: name of the model, as GET /v1/models lists it.
        messages: the conversation, which ends with what the model replies to.
        max_tokens, max_completion_tokens: limit of the reply, thoughts included; None leaves it to the server.
        temperature, top_p, top_k: how tokens are drawn.
        seed: of the samples; None draws one.
        n: number of replies.
        stream: whether tokens are sent as they come.
        stream_options: of a streamed reply.
        logprobs: whether each token is returned with its log-probability.
        tools, documents, chat_template_kwargs: for the chat template.
    """

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    seed: int | None = None
    n: Annotated[int, Field(ge=1, le=64)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    tools: list[dict[str, Any]] | None = None
    documents: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    # Accepted where they ask for nothing.
    top_logprobs: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, float] | None = None
    response_format: dict[Literal["type"], Literal["text"]] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    # For the records of a provider.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None

    @model_validator(mode="after")
    def _can_be_obeyed(self) -> Self:
        if self.messages[-1].role == "assistant":
            raise ValueError("the last message is the assistant's; end with what the model replies to")
        if refused := [name for name in _NOT_OBEYED if getattr(self, name)]:
            raise ValueError(f"{refused[0]} is not supported here; leave it out")
        return self

    @property
    def request(self) -> PromptRequest:
        """The conversation, as it is formatted for the model."""
        options = {**({"tools": self.tools} if self.tools else {}), **(self.chat_template_kwargs or {})}
        return PromptRequest(messages=self.messages, documents=self.documents, chat_template_kwargs=options or None)

    def decoding(self, default_tokens: int) -> Decoding:
        """How tokens are drawn: as asked, or else from the whole distribution, as providers do.

        Args:
            default_tokens: limit of a reply to a call that sets none.
        """
        return Decoding(
            max_new_tokens=self.max_completion_tokens or self.max_tokens or default_tokens,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_k=max(0, self.top_k or 0),
            top_p=1.0 if self.top_p is None else self.top_p,
        )
