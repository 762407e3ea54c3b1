"""A user's own questions: JSON lines, CSV or Parquet with questions and their accepted answers."""

from pathlib import Path

from hneurons.data.opendomain import ANSWER_ONLY, OPEN, Answers, spoken, text_key, unique_texts
from hneurons.data.questions import Question
from hneurons.data.reading import PublishedRow, Text, read_rows
from hneurons.errors import HNeuronsError


class _Row(PublishedRow):
    """{question, aliases[] or answer, question_id?, kind?}; a cell of a CSV file has several answers with semicolons."""

    question: Text
    question_id: Text | None = None
    aliases: Answers | None = None
    answer: Answers | None = None
    kind: Text | None = None

    @property
    def key(self) -> str:
        return self.question_id or text_key(self.question)

    def answers(self, separated: bool) -> tuple[str, ...]:
        texts = [*(self.aliases or []), *(self.answer or [])]
        return unique_texts(part for text in texts for part in (text.split(";") if separated else [text]))


def own_questions(name: str, path: Path, prompt: str | None, answerable: bool) -> list[Question]:
    """Read a user's own set of questions.

    Args:
        name: Name of the set.
        path: The file; its ending tells the format.
        prompt: The user's message, with {question} in it; None asks for the answer only.
        answerable: Whether every question has an answer; if not, none has.

    Returns:
        The questions, each text once.

    Raises:
        HNeuronsError: If a row breaks the schema, if an id stands for two questions, or if a question lacks an answer, or
            has one although none should; the message names file and row.
    """
    rows = read_rows(path, _Row, unique=lambda row: (row.key, spoken(row.question)))
    questions: dict[str, Question] = {}
    for number, row in enumerate(rows, 1):
        aliases = row.answers(path.suffix == ".csv")
        if bool(aliases) != answerable:
            problem = "no answer (aliases or answer)" if answerable else "an answer, which no question of role nonexist has"
            raise HNeuronsError(f"{path}: question {number} ({row.key}): {problem}")
        question = Question(row.key, row.kind or name, row.question.strip(), aliases, OPEN, prompt or ANSWER_ONLY)
        questions.setdefault(spoken(row.question), question)
    return list(questions.values())
