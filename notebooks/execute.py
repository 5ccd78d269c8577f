"""Executes notebooks and stores their outputs: python notebooks/execute.py [NAME ...]

Each runs in an empty folder. What libraries print about the machine (standard error) is left out.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
HOURS = 4


def execute(path: Path):
    """Runs every cell of a notebook and writes it back with what the cells printed and drew."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as empty:
        NotebookClient(
            notebook, timeout=3600 * HOURS, resources={"metadata": {"path": empty}}
        ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    notebook.metadata["language_info"] = {"name": "python"}
    partial = path.with_suffix(".partial")
    nbformat.write(notebook, partial)
    os.replace(partial, path)


def joined(outputs: list) -> list:
    """The outputs without standard error, what was printed piece by piece in one piece."""
    kept = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if kept and kept[-1].output_type == output.output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.ipynb")):
        execute(FOLDER / f"{name}.ipynb")
        print(f"{name}: done", flush=True)
