"""Chapters opened in Jupyter, which starts a kernel in the folder of the notebook."""

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_chapter_opened_in_jupyter_works_in_the_repositorys_folder(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    source = "import os\nfrom cpssl_lite.book.figures import style\nbefore = os.getcwd()\nstyle()\n"
    cell = nbformat.v4.new_code_cell(f"{source}print(before, os.getcwd())")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    for folder, after in ((ROOT / "notebooks", ROOT), (ROOT / "tests", ROOT / "tests")):
        NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}).execute()
        assert notebook.cells[0].outputs[0]["text"].split() == [str(folder), str(after)]


@pytest.mark.parametrize("source", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda p: p.stem)
def test_every_chapter_goes_there_first(source):
    cells = [c for c in jupytext.read(source).cells if c.cell_type == "code"]
    assert "style()" in cells[1].source  # the parameters come first
