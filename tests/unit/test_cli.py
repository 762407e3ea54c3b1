"""The command line: help with an example, several α, exit codes, errors in one line, JSON, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hneurons.cli import app
from hneurons.cli.common import pinned_revision
from tests.tiny import byte_level_tokenizer, tiny_model
from tests.unit.test_detector import neurons_of

COMMANDS = (
    "detect",
    "generate",
    "export",
    "drift",
    "plan",
    "figure3",
    "import-runs",
    "fit",
    "serve",
    "compare",
    "import-neurons",
)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A checkpoint and neurons, as options."""
    folder = tmp_path_factory.mktemp("tiny")
    model = tiny_model("llama")
    model.save_pretrained(folder / "model")
    byte_level_tokenizer(["The city of Lyon is located in France."]).save_pretrained(folder / "model")
    neurons_of(model).save(folder / "neurons.parquet")
    return ["--model", str(folder / "model"), "--neurons", str(folder / "neurons.parquet")]


def run(*arguments, given=None):
    return CliRunner().invoke(app, list(arguments), input=given, env={"COLUMNS": "200", "NO_COLOR": "1"})


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    said = run(command, "--help")
    assert said.exit_code == 0 and f"Example: hneurons {command}" in " ".join(said.output.split())


def test_the_overview_names_exit_codes_and_every_command():
    said = " ".join(run("--help").output.split())
    assert "Exit codes: 0 success; 1 failure, one line on stderr says why; 2 wrong usage." in said
    assert all(f" {command} " in said for command in COMMANDS)


def test_a_file_that_is_no_set_is_one_line(both, tmp_path):
    (tmp_path / "neurons.parquet").write_text("no parquet")
    said = run("detect", *both[:2], "--neurons", str(tmp_path), "--question", "x")
    assert said.exit_code == 1 and "not a Parquet file" in said.stderr and said.stderr.count("\n") == 1


def test_a_control_is_shown_as_it_was_asked_for(both):
    said = run("generate", *both, "--which", "random-1", "--alpha", "0", "x", "--max-new-tokens", "2", "--json")
    assert [one["neurons"] for one in json.loads(said.stdout)] == ["random-1"]


@pytest.mark.parametrize(
    "alphas", [["--alpha=0", "1", "3"], ["--alpha", "0", "1", "3"], ["--alpha", "0", "--alpha", "1", "--alpha", "3"]]
)
def test_several_alphas_side_by_side_with_their_control(both, alphas):
    said = run("generate", *both, *alphas, "Where is Lyon?", "--max-new-tokens", "3", "--json")
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert [(one["neurons"], one["alpha"]) for one in found] == [
        ("untouched", 1.0),
        ("hneurons", 0.0),
        ("hneurons", 3.0),
        ("random-1", 0.0),
        ("random-1", 3.0),
    ]
    assert {one["prompt"] for one in found} == {"Where is Lyon?"}


def test_a_prompt_may_be_a_number_after_two_dashes(both):
    said = run("generate", *both, "--alpha", "1", "--max-new-tokens", "2", "--json", "--", "42")
    assert json.loads(said.stdout)[0]["prompt"] == "42"


def test_the_table_has_a_column_per_alpha(both):
    said = run("generate", *both, "--alpha", "0", "1", "Where is Lyon?", "--max-new-tokens", "2")
    assert (
        said.exit_code == 0 and "α = 0" in said.output and "α = 1, untouched" in said.output and "random-1" in said.output
    )


def test_detect_reads_one_question_a_file_and_stdin(both, tmp_path):
    one = run("detect", *both, "--question", "Where is Lyon?", "--response", "In France.", "--answer", "France")
    assert one.exit_code == 0 and "p(hallucinated) = 0." in one.output
    lines = '{"id": 7, "question": "Where is Lyon?", "response": "In France."}\nWhere is Kano?\n'
    (tmp_path / "many.jsonl").write_text(lines)
    of_file = run("detect", *both, str(tmp_path / "many.jsonl"), "--json", "--max-new-tokens", "3")
    of_stdin = run("detect", *both, "-", "--json", "--max-new-tokens", "3", given=lines)
    assert of_file.stdout == of_stdin.stdout
    first, second = map(json.loads, of_file.stdout.splitlines())
    assert first["id"] == 7 and first["response"] == "In France." and second["question"] == "Where is Kano?"


def test_export_says_what_it_scaled(both, tmp_path):
    said = run("export", str(tmp_path / "out"), *both, "--alpha", "0", "--json")
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["alpha"] == 0 and (tmp_path / "out/config.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["detect", "--model", "/nowhere", "--question", "x"], "neither a folder with *.safetensors"),
        (["generate", "--model", "/nowhere", "--alpha", "-1", "x"], "neither a folder with *.safetensors"),
        (["export", "out", "--model", "/nowhere", "--alpha", "0"], "neither a folder with *.safetensors"),
        (["drift", "/nowhere", "/nowhere"], "neither a folder with *.safetensors"),
        (["detect", "--model", "/nowhere", "--question", ""], "request: question: is blank"),
        (
            ["detect", "--model", "/nowhere", "--question", "x", "--response", "y", "--answer", "z"],
            "answer 'z' does not occur in the response 'y'",
        ),
        (
            ["generate", "--model", "/nowhere", "--alpha", "0.3", "--alpha", "0.30000000000000004", "x"],
            "is shown with the same digits as another one",
        ),
        (["export", "out", "--model", "/nowhere", "--alpha", "0", "--which", "foo"], "no set is called 'foo': hneurons,"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(both, arguments, line):
    said = run(*arguments, *both[2:])
    assert said.exit_code == 1
    assert line in said.stderr and said.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["detect"], ["detect", "-", "--question", "x"], ["detect", "-", "--response", "x"], ["generate"], ["no-such"]],
)
def test_wrong_usage_is_exit_code_2(both, arguments):
    assert run(*arguments, *both).exit_code == 2


def test_a_question_in_place_of_a_file_is_told_with_its_option(both):
    said = run("detect", "Where is Lyon?", *both)
    assert said.exit_code == 2 and "does not exist; give a question with --question" in " ".join(said.stderr.split())


def test_a_text_that_the_model_would_hardly_say_is_told(both, llama, tmp_path):
    combined = {"probe": 0.5, "mean": -1.0, "minimum": -0.25, "intercept": 0.1}
    neurons_of(llama, combined=combined).save(tmp_path / "neurons.parquet")
    arguments = ["detect", *both[:2], "--neurons", str(tmp_path / "neurons.parquet"), "--question", "Where is Lyon?"]
    hint = "the model itself would hardly say this (its least likely token: "
    assert hint in run(*arguments, "--response", "It is located in France.").stdout
    own = run(*arguments)
    assert "with the model's confidence" in own.stdout and hint not in own.stdout


def test_an_empty_file_and_a_wrong_line_are_named(both):
    assert "contains no questions" in run("detect", *both, "-", given="\n").stderr
    assert "stdin, line 1: needs either question or messages" in run("detect", *both, "-", given='{"answer": "x"}\n').stderr


def test_completion_completes_commands():
    asked = {**os.environ, "_HNEURONS_COMPLETE": "complete_bash", "COMP_WORDS": "hneurons de", "COMP_CWORD": "1"}
    program = os.path.join(os.path.dirname(sys.executable), "hneurons")
    done = subprocess.run([program], env=asked, capture_output=True, text=True)
    assert done.stdout.split() == ["detect"]


def test_a_hub_id_means_the_revision_of_the_neurons(llama):
    neurons = neurons_of(llama, revision="a" * 40)
    assert pinned_revision("owner/name", neurons) == "a" * 40
    assert pinned_revision("/some/folder", neurons) is None
    assert pinned_revision("owner/name", neurons_of(llama)) is None
