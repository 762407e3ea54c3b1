"""The parameters of a judge's calls, without those that its model refuses."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from hneurons.config.judges import LLMSettings

logger = logging.getLogger(__name__)

_UNSUPPORTED = re.compile(
    r"unsupported|not support|n['’]t support|not (?:be )?(?:permitted|allowed|available|compatible|accept|recogni[sz]ed)"
    r"|unrecogni[sz]ed|unknown|unexpected|extra.(?:forbidden|inputs|fields)|additional propert|deprecated|incompatible"
    r"|invalid (?:parameter|argument|temperature)|cannot be (?:set|specified|used)|\bonly\b"
    r"|(?:must|should|has to) (?:be|equal) (?:set to )?1(?:\.0)?\b|not allow",
    re.IGNORECASE,
)
_OTHER_LIMIT = re.compile(r"\buse\W+max_completion_tokens", re.IGNORECASE)


@dataclass(frozen=True)
class JudgePrompt:
    """One prompt of a judge.

    Attributes:
        task: Name of the task, which is also the name of the schema.
        system: The system prompt.
        user: The user message.
        schema: JSON schema of the reply, as text.
    """

    task: str
    system: str
    user: str
    schema: str

    @property
    def text(self) -> str:
        """The system prompt and the user message."""
        return f"{self.system}\n\n{self.user}"


class Parameters:
    """The parameters of all calls to one model; what it refuses once is not sent again. For use in several threads.

    Args:
        settings: The study's `judges.llm` section.
    """

    def __init__(self, settings: LLMSettings) -> None:
        self._settings = settings
        self._refused: set[str] = set()
        self._lock = Lock()

    def of_call(self, prompt: JudgePrompt) -> dict[str, Any]:
        """Return the parameters of a call."""
        s = self._settings
        schema = {"name": prompt.task, "strict": True, "schema": json.loads(prompt.schema)}
        formats = {"json_schema": {"type": "json_schema", "json_schema": schema}, "json_object": {"type": "json_object"}}
        limit = s.max_tokens_parameter
        if limit == "auto":
            limit = "max_completion_tokens" if "max_tokens" in self._refused else "max_tokens"
        parameters: dict[str, Any] = {
            "model": s.model,
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            limit: s.max_tokens,
        }
        if s.structured_output in formats:
            parameters["response_format"] = formats[s.structured_output]
        if s.temperature is not None and "temperature" not in self._refused:
            parameters["temperature"] = s.temperature
        if s.reasoning_effort is not None:
            parameters["reasoning_effort"] = s.reasoning_effort
        return parameters

    def adapt(self, sent: Mapping[str, Any], words: str) -> bool:
        """Change the parameters of later calls, if a refusal is about one that can be changed; the first time it is logged.

        Args:
            sent: The parameters that were refused.
            words: What the server said.

        Returns:
            Whether the call is worth sending again with the changed parameters.
        """
        name = self._refused_in(sent, words)
        if name is None:
            return False
        changes = {
            "max_tokens": "sends max_completion_tokens in its place",
            "temperature": "leaves it out, so the model chooses",
        }
        with self._lock:
            if name not in self._refused:
                self._refused.add(name)
                logger.warning("%s refuses %s: the judge %s", self._settings.model, name, changes[name])
        return True

    def _refused_in(self, sent: Mapping[str, Any], words: str) -> str | None:
        s = self._settings
        unsupported = _UNSUPPORTED.search(words) is not None
        limit = s.max_tokens_parameter == "auto" and "max_tokens" in sent and re.search(r"\bmax_tokens\b", words)
        if limit and (unsupported or _OTHER_LIMIT.search(words)):
            return "max_tokens"
        # A temperature that the study chose is not dropped: its verdicts would not be those of its settings.
        default = sent.get("temperature") == type(s).model_fields["temperature"].default
        return "temperature" if default and unsupported and re.search(r"\btemperature\b", words, re.IGNORECASE) else None
