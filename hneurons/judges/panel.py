"""Who judges what in a study: the settings' choice for each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hneurons.config import parse_study
from hneurons.judge_config import LLM, JudgesSettings
from hneurons.judges.judge import Choice, Judge, RuleJudge
from hneurons.judges.llm import LLMJudge
from hneurons.judges.states import UNPARSED, Answer, Judgement
from hneurons.llm_client import LLMClient


class Panel:
    """The judges of a study, by task (`correctness`, `spans`, `falseqa`, `jailbreak`, `sycophancy`)."""

    def __init__(self, settings: JudgesSettings, study: str) -> None:
        self._settings = settings
        self._rules = RuleJudge()
        self._llm = LLMJudge(LLMClient(settings.llm, settings.cache, study)) if settings.llm else None

    @classmethod
    def of_study(cls, config: dict[str, Any]) -> Panel:
        """The judges that a workflow's configuration names."""
        study, _ = parse_study(config)
        return cls(study.judges, study.study)

    def of(self, task: str) -> Judge:
        return self.llm if getattr(self._settings, task) == LLM else self._rules

    @property
    def rules(self) -> RuleJudge:
        return self._rules

    @property
    def llm(self) -> LLMJudge:
        assert self._llm is not None, "the settings are checked: an LLM judge that is asked for is described"
        return self._llm

    def fallback_options(self, task: str, asked: Sequence[Choice]) -> list[Judgement]:
        """Chosen options by the parser; what it cannot read is asked of the LLM judge where the task is given to it."""
        return self._fallback(task, asked, "option")

    def fallback_correctness(self, task: str, answers: Sequence[Answer]) -> list[Judgement]:
        return self._fallback(task, answers, "correctness")

    def _fallback(self, task: str, asked: Sequence[Choice] | Sequence[Answer], question: str) -> list[Judgement]:
        found: list[Judgement] = getattr(self._rules, question)(asked)
        if getattr(self._settings, task) == LLM and (open_ := [i for i, j in enumerate(found) if j.verdict == UNPARSED]):
            for i, judgement in zip(open_, getattr(self.llm, question)([asked[i] for i in open_]), strict=True):
                found[i] = judgement
        return found
