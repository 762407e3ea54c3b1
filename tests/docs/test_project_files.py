"""Files that say the same thing twice agree."""

from __future__ import annotations

import re
import tomllib

import yaml

from tests.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = re.compile(r"^[\w-]+")


def names(requirements):
    return {NAME.match(r)[0].lower().replace("_", "-") for r in requirements if not r.startswith("hneurons")}


def test_the_environment_installs_what_pyproject_asks_for():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    # All of pyproject's dependencies come with the package itself, so that no list can fall behind.
    assert pip == ["-c constraints.txt", "-e ."]
    (python,) = [d for d in environment["dependencies"] if str(d).startswith("python=")]
    assert PROJECT["requires-python"] == ">=" + python.removeprefix("python=")


def test_what_is_asked_for_is_pinned():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pinned = names(lines)
    assert all("==" in line for line in lines)
    asked = names(PROJECT["dependencies"]) | names(r for extra in PROJECT["optional-dependencies"].values() for r in extra)
    assert not asked - pinned


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_catalog_entry_names_flags_that_make_uses():
    entry = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert entry["mandatory-flags"]["flags"] in (ROOT / "Makefile").read_text()
    assert (ROOT / "config/README.md").is_file()
