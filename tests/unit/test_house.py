"""The house keeps its floors: imports look down only, and the package knows nothing of the workflow engine."""

from __future__ import annotations

import ast

import pytest

from tests.paths import ROOT

FLOORS = [
    {
        *("errors", "settings", "config", "model_config", "judge_config", "budget", "sources", "stages", "seeds"),
        *("store", "records", "downloads", "metrics", "joblog", "models", "prompts", "scaling", "words"),
        *("llm_client", "llm_cache", "study", "cluster", "cluster_config", "estimates", "hub", "jobs", "checkpoint"),
        *("kv_cache", "batching", "paper", "prepared", "preparing", "impact_config"),
    },
    {
        "generation",
        "neurons",
        "answers",
        "spans",
        "cett",
        "cett_shards",
        "datasets",
        "columns",
        "l1",
        "screening",
        "l1_path",
        "l2_path",
        "estimator",
    },
    {"engine", "engines", "server", "judges", "sampling", "examples", "extraction", "export", "drift", "tuning"}
    | {"detector", "steering"},
    {
        "benchmarks",
        "probe_path",
        "choice",
        "suppressed",
        "probe",
        "detection",
        "folds",
        "impact",
        "agreement",
        "tables",
        "figures",
        "neuron_figures",
        "published",
        "report",
        "impact_figures",
        "origin_figures",
        "utility",
        "utility_curves",
        "imported",
        "planning",
    },
    {"cli"},
]
FILES = sorted((ROOT / "hneurons").rglob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from ([f"{node.module}.{a.name}" for a in node.names] if node.module == "hneurons" else [node.module])
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room(path):
    return path.relative_to(ROOT / "hneurons").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_look_down(path):
    floor_of = {name: i for i, names in enumerate(FLOORS) for name in names}
    names = list(imports(path))
    assert not [n for n in names if n.split(".")[0] == "snakemake"]
    if room(path) != "__init__":
        mine = floor_of[room(path)]
        ours = [n.split(".")[1] for n in names if n.startswith("hneurons.")]
        assert not [n for n in ours if floor_of[n] > mine], "imports from a floor above"


def test_planning_imports_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys, hneurons.study, hneurons.stages, hneurons.sources, hneurons.budget, hneurons.cluster\n"
        "import hneurons.estimates\n"
        "heavy = ('torch', 'transformers', 'sklearn', 'pandas', 'pyarrow', 'openai', 'matplotlib')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_every_rule_has_its_script_and_every_script_its_rule():
    import re

    rules = "".join(p.read_text() for p in (ROOT / "rules").glob("*.smk"))
    named = set(re.findall(r"workflow_scripts/(\w+\.py)", rules))
    assert named == {p.name for p in (ROOT / "workflow_scripts").glob("*.py")}
