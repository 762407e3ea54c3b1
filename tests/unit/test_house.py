"""The layout of the project: a package per stage file. Which package may import which, import-linter checks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.paths import ROOT

FILES = sorted((ROOT / "hneurons").rglob("*.py"))

# What serves the rules of a stage file, where it is not the package of its name.
SERVED_BY = {"responses": "generation"}
PLUMBING = {"common", "targets"}


def test_every_stage_file_has_its_package():
    stages = {path.stem for path in (ROOT / "rules").glob("*.smk")} - PLUMBING
    assert len(stages) >= 10
    for stage in stages:
        assert (ROOT / "hneurons" / SERVED_BY.get(stage, stage) / "__init__.py").is_file(), stage


def test_the_ground_floor_holds_what_all_stages_share():
    files = subprocess.run(["git", "ls-files", "hneurons"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert len({name.split("/")[1] for name in files}) <= 24


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_is_one_idea(path):
    assert len(path.read_text().splitlines()) <= 300


def test_planning_imports_nothing_heavy():
    code = (
        "import sys, hneurons.config.setup, hneurons.stages, hneurons.data.sources, hneurons.planning.budget\n"
        "import hneurons.planning.estimates, hneurons.planning.slurm\n"
        "heavy = ('torch', 'transformers', 'sklearn', 'pandas', 'pyarrow', 'openai', 'matplotlib')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_every_rule_has_its_script_and_every_script_its_rule():
    import re

    rules = "".join(p.read_text() for p in (ROOT / "rules").glob("*.smk"))
    named = set(re.findall(r"workflow_scripts/(\w+\.py)", rules))
    assert named == {p.name for p in (ROOT / "workflow_scripts").glob("*.py")}
