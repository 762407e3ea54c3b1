"""Answers on random text: the rules never fail, never call an answer by its own words wrong, and take linear time."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hneurons.data.catalogue import VOCABULARIES
from hneurons.data.comparison import DIFFERENT, EQUAL, UNDECIDED, compare_answers
from hneurons.data.folding import fold
from hneurons.data.questions import LETTERS
from hneurons.data.words import count_words, split_words
from hneurons.judges.judge import Choice, Exchange
from hneurons.judges.rule_judge import RuleJudge
from hneurons.judges.states import CORRECT, HARMFUL, INCORRECT, REFUSED, UNPARSED, Answer

JUDGE = RuleJudge()
QUESTIONS = ["Which one is it?", "How many are there?", "When was it?", "Who was it?", "Where is it?", "How cold is it?"]
FRAGMENTS = [
    *"Paris the The a is not or and I no maybe because Peru Fe I'm answer:".split(),
    *"B A) O AB C 東京 です 서울 กรุงเทพ Łódź ﬁ Ｂ ٣ ५ 🙂".split(),
    *"** * _ \" ' ’ ( ) [ , . ... ; : ! ? - − – + ++ # ♭ / ^ × % ° °C $ € £ \\boxed{ } (B) <answer>".split(),
    *"1 2 10 1,000 1.5 ½ ² 21st VIII XIV 4 1776 1960s 1/2 1776-07-04 04/05/1999 forty two".split(),
    *"hundred million half third second point May July sixties BC AD km miles per cent degrees minus negative".split(),
    *("below", "I don't know", "I'm sure", "The answer is", "below zero", "\n", "\n\n", " ", "  ", "\t"),
    *("\u0301", "\u200b", "\u202e", "\xad"),
]
PIECES = st.lists(st.sampled_from(FRAGMENTS), max_size=25).flatmap(
    lambda pieces: st.sampled_from(["", " "]).map(lambda joint: joint.join(pieces))
)
TEXTS = st.text(max_size=60) | PIECES | st.text(st.characters(categories=["Nd", "Nl", "No", "Mn", "Sm", "Pd"]), max_size=20)
# Letters whose case changes one to one, and figures.
WORDS = st.text(st.sampled_from("abcxyzABCXYZéñüøłđÅÇßαβωΔждяЖ0123456789 -'.,"), min_size=1, max_size=20)


def asked(question):
    return f"{question} Respond with the answer only, without any explanation."


def verdict(question, said, gold, **more):
    return JUDGE.correctness([Answer(asked(question), said, [gold], **more)])[0].verdict


@given(TEXTS)
def test_words_are_parts_of_the_text_in_its_order(text):
    folded = fold(text)
    assert len(folded.text) == len(folded.starts) == len(folded.ends)
    end = 0
    for word in split_words(text):
        assert word.form and end <= word.start < word.end <= len(text)
        end = word.start
    assert count_words(text) >= len(split_words(text)) or any(c in text for c in "%°$€£¥")


@given(TEXTS, TEXTS)
def test_two_texts_compare_as_something(gold, said):
    assert compare_answers(gold, said) in (EQUAL, DIFFERENT, UNDECIDED)
    assert compare_answers(gold, gold) == EQUAL


@given(st.sampled_from(QUESTIONS), TEXTS, st.lists(TEXTS, max_size=3), st.booleans())
def test_every_rule_reads_every_reply(question, reply, aliases, truncated):
    for answer_type in ("open", *VOCABULARIES):
        answer = Answer(question, reply, aliases, answer_type, truncated)
        (judgement,), (span,) = JUDGE.correctness([answer]), JUDGE.span([answer])
        assert judgement.verdict in (CORRECT, INCORRECT, REFUSED, UNPARSED)
        assert span is None or 0 <= span[0] < span[1] <= len(reply)
    exchange = Exchange(question, reply, truncated)
    assert JUDGE.premise([exchange])[0].verdict and JUDGE.harm([exchange])[0].verdict in (HARMFUL, REFUSED, UNPARSED)
    options = tuple(aliases) or ("yes", "no")
    assert JUDGE.option([Choice(question, options, reply, truncated)])[0].verdict in (*LETTERS[: len(options)], UNPARSED)


@given(st.sampled_from(QUESTIONS), TEXTS)
def test_an_accepted_answer_is_never_wrong_word_for_word(question, gold):
    assert verdict(question, gold, gold) != INCORRECT


@given(st.sampled_from(QUESTIONS), WORDS, st.sampled_from(["upper", "lower", "NFC", "NFD", "wide"]))
def test_an_answer_is_itself_in_any_case_and_width(question, gold, form):
    assume(split_words(gold))
    wide = {i: i + 0xFEE0 for i in range(0x21, 0x7F)}
    said = {
        "upper": gold.upper(),
        "lower": gold.lower(),
        "wide": gold.translate(wide),
        "NFC": unicodedata.normalize("NFC", gold),
        "NFD": unicodedata.normalize("NFD", gold),
    }[form]
    assert compare_answers(gold, said) == EQUAL
    assert verdict(question, said, gold) != INCORRECT


@given(st.sampled_from(QUESTIONS), WORDS, WORDS, st.sampled_from([" {} ", "\n{}\n", '"{}"', "“{}”", "\t{}"]))
def test_quotation_marks_and_white_space_do_not_matter(question, gold, said, around):
    assume(said == said.strip(" '"))
    assert verdict(question, around.format(said), gold) == verdict(question, said, gold)


SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
SMALL += "seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def in_words(n):
    """A number below a billion in English words."""
    if n < 20:
        return SMALL[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f"-{SMALL[n % 10]}" if n % 10 else "")
    for size, name in ((10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if n >= size:
            rest = n % size
            joint = " and " if 0 < rest < 100 else " "
            return f"{in_words(n // size)} {name}" + (joint + in_words(rest) if rest else "")
    raise AssertionError(n)


def forms(n):
    wide = str(n).translate({i: i + 0xFEE0 for i in range(0x30, 0x3A)})
    arabic = str(n).translate({0x30 + i: 0x660 + i for i in range(10)})
    words = in_words(n)
    return [
        str(n),
        f"{n:,}",
        f"{n:,}".replace(",", "\u202f"),
        f"{n}.0",
        words,
        words.replace("-", " "),
        words.upper(),
        wide,
        arabic,
    ]


NUMBERS = st.integers(0, 200) | st.integers(0, 10**9 - 1)


@given(NUMBERS, st.data())
def test_a_number_is_itself_in_all_its_forms(n, data):
    gold, said = data.draw(st.sampled_from(forms(n))), data.draw(st.sampled_from(forms(n)))
    assert compare_answers(gold, said) == EQUAL
    assert verdict("How many are there?", said, gold) == CORRECT
    assert verdict("How many are there?", f"{said} km", gold) == CORRECT
    assert verdict("How many are there?", f"−{said}", gold) != CORRECT or n == 0


@given(NUMBERS, NUMBERS, st.data())
def test_two_numbers_are_never_one(n, m, data):
    assume(n != m)
    gold, said = data.draw(st.sampled_from(forms(n))), data.draw(st.sampled_from(forms(m)))
    assert compare_answers(gold, said) != EQUAL
    assert verdict("How many are there?", said, gold) != CORRECT


@given(st.integers(1, 999), st.sampled_from(["-", "−", "–", "minus "]), st.sampled_from(["", " °C", " degrees Celsius"]))
def test_a_sign_counts(n, sign, unit):
    assert verdict("How cold is it?", f"{sign}{n}{unit}", f"-{n}{unit}") == CORRECT
    assert verdict("How cold is it?", f"{n}{unit}", f"{sign}{n}{unit}") == INCORRECT
    assert verdict("How cold is it?", f"{sign}{n}{unit}", f"{n}{unit}") == INCORRECT


@given(st.dates(), st.dates(), st.data())
def test_a_date_is_itself_in_all_its_forms_and_no_other(day, other, data):
    def written(date):
        month = date.strftime("%B")
        forms = [f"{date.day} {month} {date.year:04}", f"{month} {date.day}, {date.year:04}", date.isoformat()]
        return data.draw(st.sampled_from([*forms, f"{date.day} {month[:3]}. {date.year:04}"]))

    assume(day.year > 999 < other.year)
    assert verdict("When was it?", written(day), written(day)) == CORRECT
    assert day == other or verdict("When was it?", written(other), written(day)) != CORRECT


def seconds(text, aliases):
    # Neither text is judged twice: what was judged before is in a cache.
    start = time.perf_counter()
    for truncated in (False, True):
        for answer_type in ("open", *VOCABULARIES):
            JUDGE.correctness([Answer(asked(QUESTIONS[0]), text, aliases, answer_type, truncated)])
        JUDGE.option([Choice("Which?", ("red", "green", "none of these"), text, truncated)])
        JUDGE.premise([Exchange(QUESTIONS[0], text, truncated)])
    JUDGE.harm([Exchange(QUESTIONS[0], text)])
    return time.perf_counter() - start


@settings(max_examples=8)
@given(st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=4), st.sampled_from(FRAGMENTS), st.sampled_from(FRAGMENTS))
def test_a_reply_that_repeats_itself_takes_linear_time(pieces, first, last):
    unit = "".join(pieces)
    aliases = [f"accepted answer {i}" for i in range(20)] + ["Paris", "C", "10"]
    short, long = (seconds(first + (unit * (n // len(unit) + 1))[:n] + last, aliases) for n in (4_000, 8_000))
    assert long < max(0.8, 3 * short), (pieces, first, last, short, long)


@pytest.mark.parametrize("unit", [" ", "\n", "a", ".", "(", "7", '"', "-", "or ", "not ", "A) ", "I'm sure a"])
def test_twenty_thousand_characters_take_no_time(unit):
    aliases = [f"accepted answer {i}, in some words" for i in range(150)]
    assert seconds(f"Paris{(unit * 20_000)[:20_000]}x", aliases) < 5
