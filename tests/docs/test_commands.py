"""Every command of the README and the docs runs as it stands: those over two minutes as a dry run.

They run in a copy of the checkout, on the reduced demo in place of the demo's hour.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import contextmanager

import pytest
import yaml

from tests.paths import ROOT
from tests.small_demo import CONFIG, RESULTS

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "config/README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCED = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:\.venv/bin/)?(?:make|snakemake|hneurons|python|mkdocs) [^`]*)`")


def commands():
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [
            line for block in _FENCED.finditer(text) if block["kind"] in ("", "bash") for line in block["body"].splitlines()
        ]
        for line in [*lines, *_INLINE.findall(_FENCED.sub("", text))]:
            command = " ".join(line.split("  #")[0].split()).replace(".venv/bin/", "")
            if command:
                found.setdefault(command, page.name)
    return found


COMMANDS = commands()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, small_demo):
    """The checkout as its user has it after the demo, where commands may write beside it."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        # A record of its own: tests beside these run snakemake on the same results.
        if path.name not in (".git", ".snakemake", "config", "tests", "results", "site"):
            (folder / path.name).symlink_to(path)
    for name in ("config", "results"):
        (folder / name).mkdir()
    for path in (ROOT / "results").iterdir():
        (folder / "results" / path.name).symlink_to(path)
    for path in (ROOT / "config").iterdir():
        (folder / "config" / path.name).write_bytes(path.read_bytes())
    for alpha in (0, 1, 3):
        rows = [{"id": str(i), "alpha": alpha, "compliance": i % 3 == 0, "response": "A"} for i in range(30)]
        (folder / f"alpha_{alpha}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    theirs = {"layers": 30, "d_ff": 1536, "neurons": [[3, 5], [7, 1024], [29, 0]]}
    (folder / "others.json").write_text(json.dumps(theirs))
    return folder


def own_path():
    """The environment of a reader: the machine's own path, with the project's programs first."""
    where = {
        **os.environ,
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "COLUMNS": "120",
        "NO_MKDOCS_2_WARNING": "1",
    }
    # A `make` that started these tests hands its arguments down.
    for name in ("MAKEFLAGS", "ARGS", "CONFIG", "MINUTES"):
        where.pop(name, None)
    return where


def run(command, folder, limit=120):
    """Run a line of shell; its output."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=own_path(), capture_output=True, text=True, timeout=limit
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def as_run_here(command):
    """What stands for a command: the same on the reduced demo, a dry run where it takes longer than two minutes."""
    here = command.replace("results/demo/", f"results/{RESULTS.name}/").replace("{study}", RESULTS.name)
    here = here.replace("TARGET", f"results/{RESULTS.name}/tables/table1.csv --configfile {CONFIG}")
    program, target = here.split()[0], " ".join(here.split()[1:2])
    if program == "make":
        if target in ("test", "test-fast", "test-families", "test-vllm", "lint", "fuzz", "perf", "coverage"):
            return f"{here} --dry-run"
        if target == "demo" and "ARGS" not in here:
            return f'{here} ARGS="-n --quiet rules"'
        return here if "CONFIG" in here or target == "docs" else f"{here} CONFIG={CONFIG}"
    if program == "snakemake" and "--unlock" not in here and "--lint" not in here:
        # Studies of hours, and the whole paper's.
        return f"{here} --dry-run --quiet rules"
    stands_for = {
        "mkdocs build --strict": "mkdocs build --strict --site-dir site-of-test",
        "hneurons detect --html": "hneurons detect --help",
        "hneurons export --as lora": "hneurons export --help",
        # To a repository of the reader's own: that the program takes these arguments is all that can be tried.
        "hf upload": "hf upload --help",
        # The reader's shell is asked for; here there may be none.
        "hneurons --install-completion": "_HNEURONS_COMPLETE=source_bash hneurons",
        # Against a package that is not installed here, for minutes.
        "python perf/peers.py": "python perf/peers.py --help",
        "hneurons fit --C 3": "hneurons fit --help",
        # It serves until it is interrupted.
        "hneurons serve --model": "hneurons serve --help",
        # It would write over what the study made.
        f"hneurons figure3 results/{RESULTS.name}": f"hneurons figure3 results/{RESULTS.name} --out drawn",
    }
    return next((other for begins, other in stands_for.items() if here.startswith(begins)), here)


@contextmanager
def serving(command, folder):
    """The address of a server that runs within the block, on a free port."""
    here = command.replace("results/demo/", f"results/{RESULTS.name}/")
    command = f"exec {here} --port 0"
    process = subprocess.Popen(["bash", "-c", command], cwd=folder, env=own_path(), stderr=subprocess.PIPE, text=True)
    try:
        yield re.search(r"a page at (\S+)/,", process.stderr.readline())[1]
    finally:
        process.kill()
        process.communicate()


def own_model(folder):
    """What the README says to write for a model of one's own: the entries of its first block, and the study's lines."""
    (first, *_) = [b["body"] for b in _FENCED.finditer((ROOT / "README.md").read_text()) if b["kind"] == "yaml"]
    weights = RESULTS / "smollm2-135m-instruct/checkpoint/weights"
    entries = first.replace("<40 hex digits>", "a" * 40).replace("/path/to/checkpoint", str(weights))
    models = folder / "config/models.yaml"
    if "my-model" not in models.read_text():
        models.write_text(models.read_text() + "\n" + entries)
    study = yaml.safe_load((folder / "config/demo.yaml").read_text())
    study |= {"study": "mine", "models": ["my-model", "their-model"]}
    del study["origin"]
    (folder / "config/my-study.yaml").write_text(yaml.safe_dump(study))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_as_it_stands(command, checkout):
    if "my-study" in command:
        own_model(checkout)
    # Neither writes over what is there.
    if "export steered" in command or "import-runs" in command:
        subprocess.run(["rm", "-rf", "steered", "results/imported"], cwd=checkout, check=True)
    if "figure3 results/imported" in command and not (checkout / "results/imported").exists():
        run(next(c for c in COMMANDS if "import-runs" in c), checkout)
    if "--neurons found" in command and not (checkout / "found").exists():
        run(as_run_here(next(c for c in COMMANDS if c.startswith("hneurons fit"))), checkout, 600)
    if command.endswith("others.parquet") and not (checkout / "others.parquet").exists():
        run("hneurons import-neurons others.json others.parquet", checkout)
    # A fit with its controls takes a minute or two, and longer beside other tests.
    said = run(as_run_here(command), checkout, 600 if command.startswith("hneurons fit") else 120)
    if "detect --model" in command:
        assert "p(hallucinated)" in said or '"probability"' in said
    if "make plan CONFIG=config/my-study.yaml" in command:
        assert "my-model" in said and "their-model" in said


def test_the_demo_ends_with_commands_that_run_as_they_stand(checkout):
    ending = run(f"make demo CONFIG={CONFIG}", checkout)
    assert "Nothing to be done" in ending and "Select jobs" not in ending
    commands = [line.removeprefix("next: ") for line in ending.splitlines() if line.startswith("next: ")]
    assert len(commands) == 3
    printed = [run(command, checkout) for command in commands]
    assert (RESULTS / "report.html").stat().st_size > 100_000
    assert "p(hallucinated)" in printed[0] and "α" in printed[1]


def test_the_client_of_the_docs_is_served(checkout):
    serve = next(command for command in COMMANDS if command.startswith("hneurons serve"))
    (client,) = [b["body"] for b in _FENCED.finditer((ROOT / "docs/detector.md").read_text()) if "OpenAI" in b["body"]]
    with serving(serve, checkout) as address:
        program = client.replace("http://127.0.0.1:8000", address)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "'probability'" in done.stdout and "'tokens'" in done.stdout


def test_commands_are_found_in_all_pages():
    pages = set(COMMANDS.values())
    assert {"README.md", "detector.md", "cluster.md", "impact-and-origin.md"} <= pages
    assert len(COMMANDS) > 30


def test_programs_that_commands_name_are_the_projects_own():
    first = {shlex.split(command)[0] for command in COMMANDS}
    assert first <= {"make", "hneurons", "snakemake", "python", "mkdocs", "cp", "echo", "hf"}
