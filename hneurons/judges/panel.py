"""Who judges what in a study: the settings' choice for each task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hneurons.config.judges import LLM, JudgesSettings
from hneurons.config.setup import parse_study
from hneurons.judges.client import LLMClient
from hneurons.judges.judge import Choice, Judge
from hneurons.judges.llm import LLMJudge
from hneurons.judges.rule_judge import RuleJudge
from hneurons.judges.states import UNPARSED, Answer, Judgement

A = TypeVar("A", Choice, Answer)


class Judges:
    """The judges of a study, by task (`correctness`, `spans`, `falseqa`, `jailbreak`, `sycophancy`)."""

    def __init__(self, settings: JudgesSettings, study: str) -> None:
        self._settings = settings
        self.rules = RuleJudge()
        self._llm = LLMJudge(LLMClient(settings.llm, settings.cache, study)) if settings.llm else None

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Judges:
        """The judges that a workflow's configuration names."""
        study = parse_study(config).study
        return cls(study.judges, study.study)

    def for_task(self, task: str) -> Judge:
        return self.llm if getattr(self._settings, task) == LLM else self.rules

    @property
    def llm(self) -> LLMJudge:
        assert self._llm is not None, "the settings are checked: an LLM judge that is asked for is described"
        return self._llm

    def option(self, task: str, asked: Sequence[Choice]) -> list[Judgement]:
        """Chosen options by the parser; what it cannot read is asked of the LLM judge where the task is given to it."""
        return self._with_fallback(task, asked, lambda judge, some: judge.option(some))

    def correctness(self, task: str, answers: Sequence[Answer]) -> list[Judgement]:
        """Verdicts by rules; what they cannot tell as in `option`."""
        return self._with_fallback(task, answers, lambda judge, some: judge.correctness(some))

    def _with_fallback(
        self, task: str, asked: Sequence[A], ask: Callable[[Judge, Sequence[A]], list[Judgement]]
    ) -> list[Judgement]:
        found = ask(self.rules, asked)
        unread = [i for i, j in enumerate(found) if j.verdict == UNPARSED]
        judge = self.for_task(task)
        if unread and judge is not self.rules:
            for i, judgement in zip(unread, ask(judge, [asked[i] for i in unread]), strict=True):
                found[i] = judgement
        return found
