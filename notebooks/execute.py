"""Executes notebooks and stores their outputs: python notebooks/execute.py [NAME ...]

Each runs in an empty folder. What libraries print about the machine (standard error) is left out.
"""

import base64
import io
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

# Pictures of more bytes are stored as JPEG: photographs, not curves.
LARGEST_PNG = 60_000
QUALITY = 85
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
            cell.outputs = [lighten(output) for output in joined(cell.outputs)]
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


def lighten(output):
    """An output whose picture, if it is a large PNG, is a JPEG."""
    content = base64.b64decode(output.get("data", {}).get("image/png", ""))
    if len(content) <= LARGEST_PNG:
        return output
    stream = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").save(stream, "jpeg", quality=QUALITY)
    data = {key: value for key, value in output.data.items() if key != "image/png"}
    output.data = data | {"image/jpeg": base64.b64encode(stream.getvalue()).decode()}
    return output


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.ipynb")):
        execute(FOLDER / f"{name}.ipynb")
        print(f"{name}: done", flush=True)
