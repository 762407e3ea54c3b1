"""Answer spans: which characters and tokens of a response carry its claim (the answer tokens of eq. 3).

A `Judge` locates the characters: by rules `RuleJudge.span`, which takes open answers from opendomain.py and claims.py and
answers of a known vocabulary from closeddomain.py; otherwise the LLM. This module turns them into token masks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from hneurons.config.judges import RULES
from hneurons.generation.tokens import token_mask, token_offsets
from hneurons.judges.judge import Judge
from hneurons.judges.states import CORRECT, INCORRECT, REFUSED
from hneurons.judges.verdicts import answer_to_judge, consistent_label, example_responses, verdicts_by_question
from hneurons.records import SPANS, Rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def span_table(
    questions: Rows,
    responses: Rows,
    judged: Rows,
    tokenizer: PreTrainedTokenizerBase,
    extractor: Judge,
    *,
    most_frequent: bool = True,
) -> pa.Table:
    """Locate the answer span of every response that can become an example, with its mask over the response's tokens.

    These are one sample each of the questions with a consistent label. The span is the claim of the response. For rules,
    the span of a refusal to an unanswerable question is the entire response.

    Args:
        questions: Rows of QUESTIONS.
        responses: Rows of RESPONSES to these questions.
        judged: Rows of VERDICTS on these responses.
        tokenizer: The model's tokenizer, which maps tokens to characters.
        extractor: The judge that locates the spans.
        most_frequent: As in `example_responses`.

    Returns:
        Rows of SPANS. A response whose span cannot be located has no row.
    """
    question_of = {q["question_id"]: q for q in questions}
    verdicts_of = verdicts_by_question(judged)
    label_of = {q["question_id"]: consistent_label(verdicts_of[q["question_id"]], bool(q["aliases"])) for q in questions}
    candidates = [r for r in example_responses(responses, most_frequent) if label_of[r["question_id"]] is not None]
    decoded = [token_offsets(tokenizer, r["response_ids"][r["thought_tokens"] :]) for r in candidates]
    answers = [
        replace(answer_to_judge(question_of[r["question_id"]], r), text=text)
        for r, (text, _) in zip(candidates, decoded, strict=True)
    ]
    rows = []
    for response, (text, offsets), span in zip(candidates, decoded, extractor.span(answers), strict=True):
        # A consistent label means that all samples have this verdict.
        verdict = verdicts_of[response["question_id"]][0]
        method = {CORRECT: "alias", INCORRECT: "candidate", REFUSED: "declines"}[verdict]
        if extractor.name != RULES:
            method = extractor.name.partition(":")[0]
        elif verdict == REFUSED:
            span = (0, len(text))
        if span is not None and any(mask := token_mask(offsets, *span)):
            mask = [False] * response["thought_tokens"] + mask
            row = {"start": span[0], "end": span[1], "method": method, "extractor": extractor.name, "token_mask": mask}
            rows.append({**response, **row})
    return pa.Table.from_pylist(rows, schema=SPANS)
