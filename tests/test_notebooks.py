"""The notebooks: what they promise at the top, what is stored in them, and that every cell runs."""

import base64
import importlib.util
import io
import os
import re
import sys
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nbformat
import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from PIL import Image

from ssd_keras.deploy import TFLiteDetector
from ssd_keras.weights import catalogue

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
# What each leaves behind.
WRITES = {
    "quickstart": ["shapes.tflite"],
    "own_photographs": ["checked/augmented.png", "run/best.keras", "run/report.html"],
    "inside_ssd": ["shown.png"],
    "ssd_to_dssd": ["ssd.keras"],
}
# What a file that was written holds; nothing, or an error, if it is empty or broken.
CONTENT = {
    ".tflite": lambda path: TFLiteDetector(path).classes,
    ".keras": lambda path: zipfile.ZipFile(path).namelist(),
    ".html": lambda path: "</html>" in path.read_text(encoding="utf-8"),
    ".png": lambda path: np.ptp(np.asarray(Image.open(path))),
    ".jpg": lambda path: np.ptp(np.asarray(Image.open(path))),
}
HANGUL = re.compile("[가-힣]")


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(notebook):
    """The pictures among the outputs."""
    data = [output.get("data", {}) for output in outputs(notebook)]
    encoded = [d.get("image/png") or d.get("image/jpeg") for d in data]
    return [Image.open(io.BytesIO(base64.b64decode(e))) for e in encoded if e]


def test_all_notebooks_are_known():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(WRITES)


@pytest.mark.parametrize("name", WRITES)
def test_it_begins_with_what_runs_without_a_gpu_and_the_installation(name):
    cells = read(name).cells
    assert "without a GPU" in cells[0].source
    install = next(cell.source for cell in cells if cell.cell_type == "code")
    assert "%pip install" in install


class Shell:
    """What IPython runs its own lines by; keeps them instead."""

    def __init__(self):
        self.lines = []

    def run_line_magic(self, name, line):
        self.lines.append(f"{name} {line}")


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize(
    ("beside", "taken"),
    [
        (["ssd_keras-1.2-py3-none-any.whl"], "ssd_keras-1.2-py3-none-any.whl"),
        (["ssd-keras-main.zip"], "ssd-keras-main.zip"),
        (["ssd-keras/ssd_keras/zoo.py"], "ssd-keras"),
        (["ssd-keras-main/ssd_keras/zoo.py"], "ssd-keras-main"),
        (["ssd_keras/zoo.py"], "."),
        (["../ssd_keras/zoo.py"], ".."),
        (["ssd_keras-1.2-py3-none-any.whl", "ssd-keras/ssd_keras/zoo.py"], "ssd_keras-1.2-py3-n"),
        ([], None),
    ],
)
def test_it_installs_what_lies_beside_it(name, beside, taken, tmp_path, monkeypatch):
    folder = tmp_path / "folder of notebooks"
    folder.mkdir()
    for file in beside:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    if taken is None:
        with pytest.raises(RuntimeError, match="Put the ssd-keras repository, as a clone"):
            install(name)
        return
    assert install(name).startswith(str((folder / taken).resolve()))


def install(name):
    """What the installing cell of a notebook gives to pip, which isn't started."""
    source = next(cell.source for cell in read(name).cells if cell.cell_type == "code")
    shell = Shell()
    code = TransformerManager().transform_cell(source)
    exec(code, names := {"get_ipython": lambda: shell})
    # In quotes: a folder's name may have spaces.
    assert shell.lines == ['pip install -q "{FOUND[0].resolve()}"']
    return str(names["FOUND"][0].resolve())


@pytest.mark.parametrize("name", WRITES)
def test_colab_asks_for_the_file_that_is_missing(name, tmp_path, monkeypatch):
    wheel = tmp_path / "ssd_keras-1.2-py3-none-any.whl"
    colab = ModuleType("google.colab")
    colab.files = SimpleNamespace(upload=wheel.touch)
    monkeypatch.setitem(sys.modules, "google", ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert install(name) == str(wheel)


@pytest.mark.parametrize("name", WRITES)
def test_a_clone_is_installed_though_python_finds_it_without(name, tmp_path, monkeypatch):
    (tmp_path / "ssd_keras").mkdir()
    (tmp_path / "ssd_keras/zoo.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "ssd_keras" or None)
    assert install(name) == str(tmp_path)


@pytest.mark.parametrize("name", WRITES)
def test_it_is_downloaded_in_a_moment(name):
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 1_000_000


@pytest.mark.parametrize("name", WRITES)
def test_every_title_is_also_in_korean(name):
    titles = [
        line
        for cell in read(name).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if re.match("#+ ", line)
    ]
    assert len(titles) >= 6
    for title in titles:
        assert HANGUL.search(title.partition(" · ")[2]), title


@pytest.mark.parametrize("name", WRITES)
def test_the_stored_outputs_are_whole_and_of_no_machine(name):
    notebook = read(name)
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in codes] == list(range(1, len(codes) + 1))
    assert {output.output_type for output in outputs(notebook)} <= {"stream", "display_data"}
    assert len(pictures(notebook)) >= 2
    text = "".join(output.get("text", "") for output in outputs(notebook))
    assert not re.search(r"/(home|root|work|tmp|usr|opt)/|Traceback|WARNING", text)


@pytest.mark.parametrize("name", WRITES)
def test_links_lead_to_other_notebooks(name):
    text = "".join(cell.source for cell in read(name).cells)
    for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
        assert (FOLDER / target).exists(), target


def test_nothing_is_fetched_before_the_user_has_said_so():
    cells = [cell.source for cell in read("quickstart").cells if cell.cell_type == "code"]
    at_once = next(source for source in cells if "WEIGHTS" in source)
    assert cells.index(at_once) == 2
    assert re.search(r"^FETCH = False\b", at_once, re.M)
    (name,) = re.findall(r'^WEIGHTS = "(\w+)"', at_once, re.M)
    size = catalogue.find_entry(name).file.size
    assert f"fetches {size / 1e6:.0f} MB once" in at_once
    assert not [source for source in cells if source != at_once and ".load(" in source]
    own = "".join(cell.source for cell in read("own_photographs").cells)
    assert re.search(r"^WEIGHTS = None$", own, re.M)
    assert "    weights=WEIGHTS,\n" in own


# Tracing and XLA take most of the time of cells that compute each thing once.
UNTRACED = """
from tests import without_xla

without_xla.leave_out_xla()
without_xla.run_eagerly()
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITES)
def test_every_cell_runs(name, tmp_path):
    notebook, stored = read(name), read(name)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(UNTRACED))
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}})
    # A kernel is a process of its own, which knows nothing of pytest.
    client.execute(env={**os.environ, "NOTEBOOK_QUICK": "1", "PYTHONPATH": str(ROOT)})
    assert [picture.size[0] > 200 for picture in pictures(notebook)] == [True] * len(
        pictures(stored)
    )
    for file in WRITES[name]:
        assert CONTENT[Path(file).suffix](tmp_path / file)
