"""A checkout in a folder of any name: its environment lies inside it, and jobs start from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest
import yaml

from hneurons.planning.slurm import check_same_python
from tests.paths import ROOT
from tests.workspace import Workspace

TARGET = "results/odd/questions/elements.parquet"


def test_jobs_start_in_a_folder_with_spaces_quotes_and_letters_of_any_alphabet(tmp_path):
    folder = tmp_path / "Ana's (first) projêt & 試"
    folder.mkdir()
    config = yaml.safe_load((ROOT / "config/demo-small.yaml").read_text())
    config |= {"study": "odd", "models_file": str(ROOT / "config/models.yaml"), "cluster_file": "config/cluster.yaml"}
    workspace = Workspace(folder, config)
    venv.create(folder / ".venv", with_pip=False)
    (packages,) = (folder / ".venv/lib").glob("python*/site-packages")
    (packages / "borrowed.pth").write_text(f"{ROOT}\n{sysconfig.get_paths()['purelib']}\n")
    (folder / "config.yaml").rename(folder / "my study.yaml")
    command = [str(folder / ".venv/bin/python"), *workspace.command(TARGET)[1:]]
    command[command.index("config.yaml")] = "my study.yaml"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / TARGET).is_file()


@pytest.mark.parametrize("name", ["two words", "Ana's & (Bo's)"])
def test_a_node_looks_for_the_python_of_any_path(tmp_path, monkeypatch, name):
    """The command that SLURM's plug-in wraps in double quotes, and that a node then runs."""
    program = tmp_path / name / "python"
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    check_same_python(is_main=True)
    check = yaml.safe_load((ROOT / "slurm/profile.yaml").read_text())["precommand"]
    shell = {"shell": True, "env": os.environ, "capture_output": True, "text": True}
    wrapped = subprocess.run(f'printf %s "{check}"', **shell).stdout
    assert f"has no {program}, from where" in subprocess.run(wrapped, **shell).stdout
    program.parent.mkdir()
    program.touch(0o755)
    assert subprocess.run(wrapped, **shell).returncode == 0


@pytest.mark.parametrize("name", ["a:b", 'a"b', "a$b", "a`b", "a\\b"])
def test_a_folder_in_which_no_environment_works_is_refused_before_it_is_made(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    for file in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / file, folder)
    done = subprocess.run(["make", "plan", f"PYTHON={sys.executable}"], cwd=folder, capture_output=True, text=True)
    assert done.returncode and f"error: {folder}: programs in .venv do not start from a path" in done.stderr
    assert not (folder / ".venv").exists()


def test_make_passes_names_with_spaces_on(tmp_path):
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for file in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / file, tmp_path)
    for program in ("hneurons", "snakemake"):
        (tmp_path / ".venv/bin" / program).write_text('#!/bin/sh\nfor a; do echo "<$a>"; done\n')
        (tmp_path / ".venv/bin" / program).chmod(0o755)
    (tmp_path / ".venv/installed").touch()
    for target in ("plan", "demo"):
        command = ["make", "--silent", target, "CONFIG=Ana's study.yaml", "ARGS=--json 'two words'"]
        printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert "<Ana's study.yaml>" in printed and "<--json>\n<two words>" in printed
