"""The judges of a study: who gives each kind of verdict, and what an LLM judge may cost.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from hneurons.config.base import Settings

RULES = "rules"
LLM = "llm"

TASKS = ("correctness", "spans", "falseqa", "jailbreak", "sycophancy")


class LLMSettings(Settings):
    """A judge behind any OpenAI-compatible API. The key stands in an environment variable and nowhere else."""

    model: str = "gpt-4o-2024-08-06"
    base_url: str = "https://api.openai.com/v1"
    api_key_env: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = Field(
        "OPENAI_API_KEY", description="the environment variable that holds the key; null for a server that asks for none"
    )
    structured_output: Literal["json_schema", "json_object", "none"] = Field(
        "json_schema", description="how the server is asked for JSON; the reply is parsed strictly in all three cases"
    )
    max_tokens: int = Field(300, ge=1)
    max_judge_calls: int = Field(ge=0, description="replies the whole study may pay for; those in the cache cost nothing")
    price_in: float = Field(2.5, ge=0, description="dollars per million prompt tokens")
    price_out: float = Field(10.0, ge=0, description="dollars per million reply tokens")
    concurrency: int = Field(8, ge=1)
    timeout_s: float = Field(60, gt=0)
    retries: int = Field(5, ge=0, description="of the openai client: on 408, 409, 429, 5xx, disconnects and timeouts")
    max_errors_percent: float = Field(
        0,
        ge=0,
        le=100,
        description="calls of a job that may fail and stay `error`; with more it stops, to go on when run again",
    )

    def price(self, calls: int, tokens_in: float, tokens_out: float | None = None) -> float:
        """Dollars for calls that read so many tokens in all and reply as many, or some 15 each."""
        replied = 15 * calls if tokens_out is None else tokens_out
        return (tokens_in * self.price_in + replied * self.price_out) / 1e6


class AgreementSettings(Settings):
    """How many responses both judges are asked about, to see how far they agree."""

    sample: int = Field(200, ge=1)


JudgeKind = Literal["rules", "llm"]


class JudgesSettings(Settings):
    """Who judges: `rules` offline, or `llm`."""

    correctness: JudgeKind = "rules"
    spans: JudgeKind = "rules"
    falseqa: JudgeKind = "rules"
    jailbreak: JudgeKind = "rules"
    sycophancy: JudgeKind = Field("rules", description="llm: asked only for a reply that the option parser cannot read")
    llm: LLMSettings | None = None
    cache: str = Field("results/judge-cache.sqlite", description="every LLM verdict that was ever paid for")
    agreement: AgreementSettings | None = None

    @model_validator(mode="after")
    def _llm_is_described(self) -> JudgesSettings:
        asked = [task for task in TASKS if getattr(self, task) == LLM] + (["agreement"] if self.agreement else [])
        if asked and self.llm is None:
            raise ValueError(f"{asked[0]} asks for the LLM judge: describe it under judges.llm (max_judge_calls at least)")
        return self
