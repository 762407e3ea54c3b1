"""The layout of the project: a package per stage file. Which package may import which, import-linter checks."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests import prose
from tests.paths import ROOT

FILES = sorted((ROOT / "hneurons").rglob("*.py"))
_NAMED_FILE = re.compile(
    r"(?<![\w/.{}<>*~-])((?:[\w.-]+/)*[\w.-]+\.(?:py|smk|md|ya?ml|toml|rst|jinja|cff|txt|ipynb|css|js))\b(?![\w/])"
)
# What a reader is to write, what a checkpoint's own README becomes, and the site's name of config/README.md.
NOT_OF_THE_PROJECT = {
    "config/my-study.yaml",
    "hneurons/data/capitals.py",
    "workflow_scripts/entropy.py",
    "README.original.md",
    "configuration.md",
    "my_behaviour.py",
}

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
    rules = "".join(p.read_text() for p in (ROOT / "rules").glob("*.smk"))
    named = set(re.findall(r"workflow_scripts/(\w+\.py)", rules))
    assert named == {p.name for p in (ROOT / "workflow_scripts").glob("*.py")}


def test_every_file_that_is_named_exists():
    tracked = {path.relative_to(ROOT).as_posix() for path in prose.tracked()}
    known = tracked | {name.rsplit("/", 1)[-1] for name in tracked} | NOT_OF_THE_PROJECT
    texts = prose.tracked(
        "*.py", "*.smk", "Snakefile", "*.md", "*.yaml", "*.yml", "*.toml", "*.ipynb", "report/*", "Makefile"
    )

    def history_or_test(path):
        return path.name == "CHANGELOG.md" or path.is_relative_to(ROOT / "tests")

    named = {(path, name) for path in texts for name in _NAMED_FILE.findall(path.read_text()) if not history_or_test(path)}
    assert len(named) > 100
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, name in named
        if name.removeprefix("../") not in known
        and not any((folder / name).exists() for folder in (path.parent, ROOT / "hneurons"))
    ]
    assert not missing


def test_snakemakes_linter_reports_nothing_else():
    command = [sys.executable, "-m", "snakemake", "--lint", "--configfile", "config/demo.yaml"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stderr
    titles = set(re.findall(r"^    \* (.*?):?$", output, flags=re.MULTILINE))
    assert titles == {
        # The project is installed as one, by make or from environment.yml.
        "Specify a conda environment or container for each rule.",
        # An input function of one stage is in its stage's file; common.smk has what several share.
        "Mixed rules and functions in same snakefile.",
    }, output


def test_the_rule_graph_is_the_one_of_the_rules():
    command = [sys.executable, "-m", "snakemake", "front", "--rulegraph", "--configfile", "config/config.yaml"]
    graph = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    drawn = re.findall(r">(\w+)</text>", (ROOT / "docs/pictures/rulegraph.svg").read_text())
    assert sorted(drawn) == sorted(re.findall(r'label = "(\w+)"', graph)), "draw it again with make rulegraph"
