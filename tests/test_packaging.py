"""What gets installed: one package, its command, its data, and a declaration of all it imports."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

import ssd_keras
from tests import clone
from tests.conftest import ROOT

SETUP = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
# Where the name to install differs from the name to import.
PROJECTS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "ai_edge_litert": "ai-edge-litert",
    "cv2": "opencv-python-headless",
    "fontTools": "fonttools",
    "keras_hub": "keras-hub",
    "tensorflow_datasets": "tensorflow-datasets",
    "yaml": "pyyaml",
}
# What only those need who ask for it.
EXTRAS = {
    "cv2": "video",
    "jax": "jax",
    "kagglehub": "kerashub",
    "keras_hub": "kerashub",
    "rasterio": "geotiff",
    "tensorflow_datasets": "tfds",
}


def declared(name):
    """A list or a table of what to install in setup.py, without the bounds."""
    value = next(
        ast.literal_eval(node.value)
        for node in ast.walk(SETUP)
        if isinstance(node, ast.keyword) and node.arg == name
    )
    if isinstance(value, dict):
        return {extra: {project(line) for line in lines} for extra, lines in value.items()}
    return {project(line) for line in value}


def project(line):
    return re.match(r"[\w.-]+", line)[0]


def statements(node):
    """All statements within a node. What they compute is not gone through: it imports nothing."""
    for part in ("body", "handlers", "orelse", "finalbody", "cases"):
        for child in getattr(node, part, ()):
            yield child
            yield from statements(child)


def imported():
    """From the names of other projects that the library imports to a file that does."""
    found = {}
    for path in [*(ROOT / "ssd_keras").rglob("*.py"), ROOT / "ssd_keras_cli.py"]:
        for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            found |= {name.partition(".")[0]: path for name in names}
    ours = {"ssd_keras", "ssd_keras_cli"}
    return {n: path for n, path in found.items() if n not in sys.stdlib_module_names | ours}


def declares(name):
    """Whether setup.py asks for what is imported by this name."""
    needed = PROJECTS.get(name, name)
    if name in EXTRAS:
        return needed in declared("extras_require")[EXTRAS[name]]
    return needed in declared("install_requires")


def test_what_is_imported_is_declared():
    found = imported()
    # At the top of files, in functions, in branches.
    assert {"keras", "PIL", "tensorflow_datasets", "yaml", *EXTRAS} <= found.keys()
    assert {name: path for name, path in found.items() if not declares(name)} == {}


def test_the_newest_version_in_the_changelog_is_not_ahead():
    """What is released is what the code says; the rest is called unreleased."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## (\d+\.\d+\.\d+)", text, re.M)
    assert released[:1] in ([], [ssd_keras.__version__])


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that pip has installed the project to, from a copy that it may build in."""
    source, place = clone.copy(tmp_path_factory.mktemp("source")), tmp_path_factory.mktemp("place")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-index",
    ]
    options = ["--no-deps", "--no-build-isolation", f"--target={place}", str(source)]
    done = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


def run_installed(installed, folder, *words):
    """What the installed command prints when it is started in a folder."""
    done = subprocess.run(
        [installed / "bin" / "ssd-keras", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_one_package_its_command_and_its_data_are_installed(installed):
    version = ssd_keras.__version__
    names = {"ssd_keras", "ssd_keras_cli.py", f"ssd_keras-{version}.dist-info", "bin"}
    assert {path.name for path in installed.iterdir()} - {"__pycache__"} == names
    for path in (ROOT / "ssd_keras").rglob("*"):
        if path.is_file() and path.suffix in (".csv", ".flags", ".typed", ".py"):
            assert (installed / path.relative_to(ROOT)).is_file(), path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--help"], "  export-saved-model  Exports a trained detector"),
        (["--version"], ssd_keras.__version__),
        (["train", "--help"], "\nssd-keras train --model=SSD_MobileNet_300"),
        (["export-tflite", "--help"], "\nssd-keras export-tflite --run_dir=runs/pets"),
    ],
)
def test_the_command_is_ours_where_others_have_programs_of_the_same_names(
    installed, tmp_path, words, told
):
    for name in ("experiments/train.py", "export/tflite.py", "train.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit('somebody else')")
    assert told in run_installed(installed, tmp_path, *words)


@pytest.mark.slow
def test_a_comparison_starts_its_runs_from_any_folder(installed, tmp_path):
    """Its processes begin with the script of the command, which no module is named after."""
    shutil.copy(ROOT / "tests" / "tiny.py", tmp_path)
    flags = [
        "--model=SSD_Tiny_32 backbone=tiny.py:backbone extras=[]",
        *("--train_data=shapes#train,count=4,size=32", "--eval_data=shapes#val,count=4,size=32"),
        *("--steps=1", "--runs_dir=runs"),
    ]
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/__init__.py").write_text("raise SystemExit('somebody else')")
    run_installed(installed, tmp_path, "compare", "--small", *flags)
    table = (tmp_path / "runs/table.md").read_text(encoding="utf-8")
    assert f"`ssd-keras compare --small {shlex.join(flags)}`" in table
