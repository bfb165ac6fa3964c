"""Every notebook runs from top to bottom, defines nothing that belongs into src, and is committed without outputs."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Checkout

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))


def code_cells(notebook: Path) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_stripped_and_defines_nothing(notebook: Path):
    for cell in code_cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        source = "".join(line for line in cell["source"] if not line.startswith("%"))
        assert not any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.walk(ast.parse(source)))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(notebook: Path, reproduced: Checkout, tmp_path: Path):
    """In a process of its own, on a small dataset; an exception in a cell is the command's failure."""
    target = tmp_path / notebook.name
    script = (
        "import nbformat, nbclient, sys; book = nbformat.read(sys.argv[1], 4); "
        "nbclient.NotebookClient(book, timeout=300, kernel_name='python3').execute(); nbformat.write(book, sys.argv[2])"
    )
    folder = reproduced.path / "notebooks"
    command = ["python", "-c", script, notebook.name, str(target)]
    done = subprocess.run(command, cwd=folder, env=reproduced.env, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert any("image/png" in output.get("data", {}) for cell in code_cells(target) for output in cell["outputs"])
