"""The example notebook and the Python of the docs run on the demo's model."""

from __future__ import annotations

import os
import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests.paths import ROOT
from tests.small_demo import RESULTS

_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [
    (page.name, number)
    for page in (ROOT / "README.md", ROOT / "docs/api.md", ROOT / "docs/detector.md", ROOT / "docs/impact-and-origin.md")
    for number, code in enumerate(_PYTHON.findall(page.read_text()))
    # A client runs beside its server, in test_commands.py.
    if "import OpenAI" not in code
]


def on_the_reduced_demo(code):
    return code.replace("results/demo/", f"results/{RESULTS.name}/")


def test_the_notebook_runs(small_demo):
    notebook = nbformat.read(ROOT / "docs/example.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are results, and are not kept"
    for cell in notebook.cells:
        cell.source = on_the_reduced_demo(cell.source)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    said = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", ()))
    assert "p(hallucinated)" in said and "untouched" in said and "random-1" in said


@pytest.mark.parametrize(("page", "number"), BLOCKS)
def test_python_of_a_page_runs(page, number, small_demo, monkeypatch):
    path = ROOT / page if page == "README.md" else ROOT / "docs" / page
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    exec(compile(on_the_reduced_demo(_PYTHON.findall(path.read_text())[number]), f"{page} {number}", "exec"), {})
