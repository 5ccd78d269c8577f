"""The part of a clone that pip installs the project from."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def copy(folder: Path) -> Path:
    """Copies it, as pip builds in the folder that it is given; returns the folder."""
    unbuilt = shutil.ignore_patterns("__pycache__", "node_modules", "build", ".gradle", "*.tflite")
    for name in ("ssd_keras", "experiments", "export"):
        shutil.copytree(ROOT / name, folder / name, ignore=unbuilt)
    for file in ("ssd_keras_cli.py", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder)
    return folder
