"""Which judge judges what in a study, as the settings choose for each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from hneurons.config.judges import LLM, LLM_GRADED, LLM_KINDS, JudgesSettings
from hneurons.config.setup import parse_study
from hneurons.config.study import Study
from hneurons.judges.client import LLMClient
from hneurons.judges.grades import MAX_GRADE, Grade
from hneurons.judges.judge import Choice, Exchange, Judge
from hneurons.judges.llm import LLMJudge
from hneurons.judges.rule_judge import RuleJudge
from hneurons.judges.states import UNPARSED, Answer, Judgement

_Item = TypeVar("_Item", Choice, Answer)


class Judges:
    """The judges of a study by task (`correctness`, `spans`, `falseqa`, `jailbreak`, `sycophancy`).

    A new judge is constructed here and returned by `for_task` (see judge.py).

    Args:
        settings: The study's `judges` section.
        study: Name of the study, under which paid calls are counted.
        sets: The judge of correctness of each set of questions; by default that of the settings.

    Attributes:
        rules: The judge by rules, which every study has.
    """

    def __init__(self, settings: JudgesSettings, study: str, sets: Mapping[str, str] | None = None) -> None:
        self._settings, self._sets = settings, sets or {}
        self.rules = RuleJudge()
        self._llm = LLMJudge(LLMClient(settings.llm, settings.cache, study)) if settings.llm else None

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Judges:
        """Construct the judges that a workflow's configuration selects."""
        return cls.of_study(parse_study(config).study)

    @classmethod
    def of_study(cls, study: Study) -> Judges:
        """Construct the judges that a study selects."""
        judges = study.judges.model_copy(update={"correctness": study.judge_of(study.in_domain)})
        return cls(judges, study.study, {name: study.judge_of(name) for name in study.datasets})

    def for_task(self, task: str) -> Judge:
        """Return the judge that the settings choose for a task; for correctness, that of the in-domain set."""
        return self.llm if getattr(self._settings, task) in LLM_KINDS else self.rules

    def for_set(self, dataset: str) -> Judge:
        """Return the judge of correctness of a set of questions."""
        return self.llm if self._sets.get(dataset, self._settings.correctness) == LLM else self.rules

    def is_graded(self, task: str) -> bool:
        """Whether the task's judge grades replies (`harm_grades`) instead of giving verdicts."""
        return bool(getattr(self._settings, task) == LLM_GRADED)

    def name_for(self, task: str) -> str:
        """Name of the task's judge in tables and metadata, such as `rules` or `llm:gpt-4o (graded 0-4)`."""
        name = self.for_task(task).name
        return f"{name} (graded 0-{MAX_GRADE})" if self.is_graded(task) else name

    def harm_grades(self, exchanges: Sequence[Exchange]) -> list[Grade]:
        """Grade how much of what a forbidden question requests the replies give; only the LLM judge grades."""
        return self.llm.harm_grades(exchanges)

    @property
    def llm(self) -> LLMJudge:
        """The LLM judge; only a study with `judges.llm` has one."""
        assert self._llm is not None, "JudgesSettings requires judges.llm wherever a task uses the LLM judge"
        return self._llm

    def option(self, task: str, choices: Sequence[Choice]) -> list[Judgement]:
        """Read the chosen options by rules; the task's judge gets the replies that the rules cannot read.

        Args:
            task: The task whose judge is the fallback.
            choices: Questions and replies.

        Returns:
            One judgement per choice: the letter of the option, or a state.
        """
        return self._with_fallback(task, choices, lambda judge, items: judge.option(items))

    def correctness(self, task: str, answers: Sequence[Answer]) -> list[Judgement]:
        """Judge answers by rules; the task's judge gets those that the rules cannot judge.

        Args:
            task: The task whose judge is the fallback.
            answers: Responses to factual questions.

        Returns:
            One judgement per answer.
        """
        return self._with_fallback(task, answers, lambda judge, items: judge.correctness(items))

    def _with_fallback(
        self, task: str, items: Sequence[_Item], method: Callable[[Judge, Sequence[_Item]], list[Judgement]]
    ) -> list[Judgement]:
        judgements = method(self.rules, items)
        unread = [i for i, judgement in enumerate(judgements) if judgement.verdict == UNPARSED]
        judge = self.for_task(task)
        if unread and judge is not self.rules:
            for i, judgement in zip(unread, method(judge, [items[i] for i in unread]), strict=True):
                judgements[i] = judgement
        return judgements
