"""The notebooks as Colab runs them: its versions, nothing but the notebook and what it asks for.

`python -m pytest -m colab` installs notebooks/colab.txt somewhere and runs each notebook with that.
The environment variable TESTS_COLAB names a folder to keep the environment in; otherwise it goes.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbclient import NotebookClient

from tests import clone
from tests.test_notebooks import CONTENT, FOLDER, WRITES, pictures, read

pytestmark = [pytest.mark.colab, pytest.mark.xla]

PYTHON = "3.13"
# What is put beside each notebook, so that each way of installing is gone once.
BESIDE = {
    "quickstart": "wheel",
    "own_photographs": "zip",
    "inside_ssd": "clone",
    "ssd_to_dssd": "folder",
}
# What this process tells programs that are not Colab's.
OURS = ("PYTHONPATH", "MPLBACKEND", "TF_CPP_MIN_LOG_LEVEL", "TF_NUM_INTRAOP_THREADS")


def test_every_notebook_is_run():
    assert BESIDE.keys() == WRITES.keys()


def run(*words):
    """What a program prints."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def find_python():
    """A Python of Colab's version, or a skip that says what is missing."""
    for python in (sys.executable, shutil.which(f"python{PYTHON}")):
        # A shim may stand on the path for a version that isn't chosen.
        told = python and subprocess.run([python, "--version"], capture_output=True, text=True)
        if told and told.stdout.startswith(f"Python {PYTHON}."):
            return python
    pytest.skip(f"Colab has Python {PYTHON}: needs it here as python{PYTHON} on the path")


def versions(python):
    """Names of what is installed for a Python to versions."""
    listed = json.loads(run(python, "-m", "pip", "list", "--format=json"))
    return {one["name"]: one["version"] for one in listed}


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """The Python of an environment that holds what Colab's does before a notebook is opened."""
    python = find_python()
    folder = Path(os.environ.get("TESTS_COLAB") or tmp_path_factory.mktemp("colab"))
    if not (folder / "bin/python").exists():
        run(python, "-m", "venv", folder)
    run(folder / "bin/python", "-m", "pip", "install", "-q", "-r", FOLDER / "colab.txt")
    return folder / "bin/python"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The repository, where a wheel can be built of it."""
    return clone.copy(tmp_path_factory.mktemp("repository") / "ssd-keras-main")


def put_beside(form, folder, source, python):
    """Puts a wheel, a .zip file or a clone into a folder, or makes the folder a clone."""
    if form == "wheel":
        run(python, "-m", "pip", "wheel", "-q", "--no-deps", f"--wheel-dir={folder}", source)
    elif form == "zip":
        shutil.make_archive(folder / source.name, "zip", source.parent, source.name)
    else:
        place = folder / "ssd-keras" if form == "clone" else folder
        shutil.copytree(source, place, dirs_exist_ok=True)


def start_kernels_with(python, folder, monkeypatch):
    """Names the Python `colab` among the kernels of notebooks."""
    spec = folder / "kernels/colab/kernel.json"
    spec.parent.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": command, "display_name": "Colab", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(folder))


@pytest.mark.parametrize(("name", "form"), BESIDE.items())
def test_it_runs_from_the_first_cell_to_the_last(name, form, colab, source, tmp_path, monkeypatch):
    folder = tmp_path / "Colab Notebooks"
    folder.mkdir()
    put_beside(form, folder, source, colab)
    start_kernels_with(colab, tmp_path / "jupyter", monkeypatch)
    run(colab, "-m", "pip", "uninstall", "-q", "-y", "ssd-keras", "ai-edge-litert")
    before = versions(colab)

    notebook = read(name)
    client = NotebookClient(
        notebook,
        kernel_name="colab",
        timeout=1800,
        resources={"metadata": {"path": str(folder)}},
    )
    kept = {key: value for key, value in os.environ.items() if key not in OURS}
    client.execute(env=kept | {"NOTEBOOK_QUICK": "1"})

    after = versions(colab)
    assert {key: after.get(key) for key in before} == before
    assert "ssd-keras" in after
    assert len(pictures(notebook)) == len(pictures(read(name)))
    for file in WRITES[name]:
        assert CONTENT[Path(file).suffix](folder / file)
