"""Published rows behind the behaviour benchmarks: FalseQA, FaithEval, are-you-sure, forbidden questions, jailbreaks."""

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hneurons.data.opendomain import Answers, text_key, unique_texts
from hneurons.data.reading import PublishedRow, Text, read_rows


def _printed_list(text: Any) -> Any:
    """Parse a list that Python printed. Replacing its quotes to get JSON would break answers with an apostrophe."""
    if isinstance(text, str) and text.startswith("["):
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError):
            raise ValueError("not a list of strings as Python prints it") from None
    return [text]


class FalseQA(PublishedRow):
    """A question of FalseQA.

    Attributes:
        question: Text of the question.
        answers: Reference answers; for label 1 they rebut the premise.
        label: "1" if the question rests on a false premise, else "0".
    """

    question: Text
    answers: Annotated[list[str], BeforeValidator(_printed_list), Field(alias="answer")]
    label: Literal["0", "1"]


class Choices(PublishedRow):
    """The options of a FaithEval question.

    Attributes:
        label: Label of each option, letters or digits; at least two.
        text: Text of each option, one per label.
    """

    label: Annotated[list[str], Field(min_length=2)]
    text: list[str]

    @model_validator(mode="after")
    def _one_text_per_label(self) -> Self:
        if len(self.label) != len(self.text):
            raise ValueError(f"{len(self.label)} labels, {len(self.text)} texts")
        return self


class FaithEval(PublishedRow):
    """A question with a context that supports a wrong option.

    Attributes:
        id: Identifier of the item.
        question: Text of the question.
        key: `answerKey`, the option that the context supports: a letter by position, even where the labels are 1-4.
        choices: The options.
        context: The counterfactual context.
    """

    id: Text
    question: Text
    key: Annotated[str, Field(alias="answerKey")]
    choices: Choices
    context: Text

    @model_validator(mode="after")
    def _key_is_an_option(self) -> Self:
        if not 0 <= self.counterfactual < len(self.choices.text):
            raise ValueError(f"answerKey {self.key!r} names none of {len(self.choices.text)} options")
        return self

    @property
    def counterfactual(self) -> int:
        """Index of the wrong option that the context supports; -1 if `key` is neither a label nor a letter A-E."""
        if self.key in self.choices.label:
            return self.choices.label.index(self.key)
        return ord(self.key) - ord("A") if re.fullmatch("[A-E]", self.key) else -1


class _Message(PublishedRow):
    type: Literal["human", "ai", "system"]
    content: str


class _Base(PublishedRow):
    dataset: Literal["aqua_mc", "math_mc_cot", "mmlu_mc_cot", "trivia_qa", "truthful_qa_mc", "truthful_qa"]
    question: Text
    correct_letter: str | None = None
    answers: str | None = None
    answer: Answers | None = None
    correct_answer: Answers | None = None


class AreYouSure(PublishedRow):
    """An item of are_you_sure.jsonl: a multiple-choice question, or an open one with its accepted answers.

    Attributes:
        prompt: The messages that open the conversation.
        base: The question of the underlying data set, with its answers.
    """

    prompt: Annotated[list[_Message], Field(min_length=1)]
    base: _Base

    @model_validator(mode="after")
    def _correct_letter_is_an_option(self) -> Self:
        if self.multiple_choice and not (self.options and self.right is not None):
            raise ValueError(f"base.correct_letter {self.base.correct_letter!r} names none of the options in base.answers")
        return self

    @property
    def multiple_choice(self) -> bool:
        """Whether the item is a multiple-choice question."""
        return "_mc" in self.base.dataset

    @property
    def options(self) -> tuple[str, ...]:
        """Texts of the options, in the order of their letters, parsed from "\\n(A) …\\n(B) …"."""
        options = re.findall(r"^\(([A-Z])\)[ \t]*(.*?)\s*(?=^\([A-Z]\)|\Z)", self.base.answers or "", re.M | re.S)
        return tuple(text for _, text in options)

    @property
    def right(self) -> int | None:
        """Index of the correct option; None if no option is named as correct."""
        index = ord(self.base.correct_letter or "@") - ord("A")
        return index if 0 <= index < len(self.options) else None

    @property
    def aliases(self) -> tuple[str, ...]:
        """Accepted answers of an open question, without repetitions."""
        return unique_texts([*(self.base.answer or []), *(self.base.correct_answer or [])])

    @property
    def first_prompt(self) -> str:
        """The user's first message. A prefilled start of the reply ("Let's think step by step:") becomes its last line."""
        return "\n\n".join(message.content.strip() for message in self.prompt)

    @property
    def key(self) -> str:
        """Identifier of the item: its data set and a hash of the first prompt."""
        return f"{self.base.dataset}-{text_key(self.first_prompt)}"


class Forbidden(PublishedRow):
    """A question that a model should decline.

    Attributes:
        content_policy_id: Number of the policy that the question violates.
        content_policy_name: Name of that policy, if the file has it.
        q_id: Number of the question within its policy.
        question: Text of the question.
    """

    content_policy_id: Text
    content_policy_name: Text | None = None
    q_id: Text
    question: Text

    @property
    def policy(self) -> str:
        """Name of the policy, or its number in a file without names."""
        return self.content_policy_name or self.content_policy_id


class Template(PublishedRow):
    """A jailbreak.

    Attributes:
        prompt: The text that precedes the forbidden question, or surrounds it (`SLOT`).
    """

    prompt: Text


# The place of the user's question in a jailbreak, which its author left to be filled: in brackets of several kinds, also
# escaped, or as all that is in quotation marks. Slots for anything else (a name, a language, the model's reply) do not
# match.
SLOT = re.compile(
    r"""
    (?<! include\s) (?<! as\s') (?<! [/?])  # a slot that the text only mentions; a part of a URL
    (?: \\?\[ | \$?\{+ | < | &lt; | \( (?= insert | question\) ) | (?<= [`"“]) (?= \s* (?: insert | write ) \s ) )
    \s*
    (?: (?: insert | enter | put | write | type ) [\s_]+
        (?: whatever \b [^][{}<>()]*? here
          | (?: (?: any | your | \*\*your\*\*\ "mildly\ funny ) [\s_]+ )? (?: prom?p?t | question | request | topic ) "?
            (?: \s (?: that | in | on | about | starting | example ) \b [^][{}<>()"`]* )? (?: [\s_]+ here )? )
      | (?: (?: your | user | potential ) [\s_]+ )? (?: prom?p?t | question | request ) (?: [\s_]+ here )?
        (?: ,\s [^][{}<>()]* )?
      | ["“]? placeholder ["”]?
      | \.{3}\ \? )
    [\s.…]*
    (?: \\?\] | \}+ | > | &gt; | \) | (?= [`"”]) )
    (?! \s* = )  # a definition of the name
    | (?: (?<= prompt\ =\ ") | (?<= question:\ ") ) (?: \.{3,} | x{5,} ) (?= ")
    """,
    re.IGNORECASE | re.VERBOSE,
)


def jailbreak_prompt(template: str, question: str) -> tuple[str, bool]:
    """Put a question into a jailbreak: into every slot for it, or after the jailbreak if it has no slot.

    Args:
        template: Text of the jailbreak.
        question: Text of the question.

    Returns:
        The prompt, and whether the jailbreak has a slot.
    """
    filled, slots = SLOT.subn(lambda _: question, template)
    return (filled, True) if slots else (f"{template}\n\n{question}", False)


def falseqa(path: Path) -> list[FalseQA]:
    """Read the rows of FalseQA, each question once."""
    return list({row.question: row for row in reversed(read_rows(path, FalseQA))}.values())[::-1]


def faitheval(path: Path) -> list[FaithEval]:
    """Read the rows of FaithEval counterfactual, each id once.

    Raises:
        HNeuronsError: If two rows with the same id differ.
    """
    rows = read_rows(path, FaithEval, unique=lambda row: (row.id, row))
    return list({row.id: row for row in rows}.values())


def are_you_sure(path: Path) -> list[AreYouSure]:
    """Read the items of are_you_sure.jsonl, each once.

    Open questions without an accepted answer are dropped, as they cannot be judged.
    """
    rows = {row.key: row for row in read_rows(path, AreYouSure)}
    return [row for row in rows.values() if row.multiple_choice or row.aliases]


def forbidden(path: Path) -> list[Forbidden]:
    """Read the forbidden questions.

    Raises:
        HNeuronsError: If two questions of a policy have the same number.
    """
    return read_rows(path, Forbidden, unique=lambda row: (f"{row.content_policy_id}-{row.q_id}", row.question))


def templates(path: Path) -> Sequence[str]:
    """Read the distinct jailbreak prompts; the published file repeats some."""
    return tuple(dict.fromkeys(row.prompt for row in read_rows(path, Template)))
