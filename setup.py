"""Installs ssd-keras with pip; with ".[test]" also what the tests need."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
# Not imported, which would need all that is to be installed.
FACE = (HERE / "ssd_keras" / "__init__.py").read_text(encoding="utf-8")

setup(
    name="ssd-keras",
    version=re.search(r'^__version__ = "(.+)"$', FACE, re.M)[1],
    description="Single-shot object detection in Keras 3, from annotated images to a .tflite file",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["ssd_keras", "ssd_keras.*"]),
    py_modules=["ssd_keras_cli"],
    entry_points={"console_scripts": ["ssd-keras = ssd_keras_cli:main"]},
    package_data={
        "ssd_keras": [
            "py.typed",
            "models.csv",
            "deploy/*.csv",
            "weights/*.csv",
            "commands/configs/*.flags",
        ]
    },
    python_requires=">=3.10",
    install_requires=[
        "absl-py>=2.3",
        "ai-edge-litert>=2.2",
        "flatbuffers>=25.9",
        "fonttools>=4.50",
        "h5py>=3.11",
        "keras>=3.12",
        "matplotlib>=3.9",
        "numpy>=1.26",
        "orjson>=3.10",
        "pillow>=11",
        "pycocotools>=2.0.8",
        "pyyaml>=6.0",
        "tensorflow>=2.20",
    ],
    extras_require={
        "test": [
            "importlib_resources>=6",
            "ipykernel>=6.29",
            "jax>=0.4.36",
            "mediapipe>=1.2",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "opencv-contrib-python>=4.9,<5",
            "pytest>=8.2",
            "pytest-xdist>=3.5",
            "rasterio>=1.3.9",
            "ruff>=0.13",
            "tensorflow-datasets>=4.9.7",
        ],
        "jax": ["jax>=0.4.36"],
        "kerashub": ["kagglehub>=1.0", "keras-hub>=0.32"],
        "geotiff": ["rasterio>=1.3.9"],
        "video": ["opencv-python-headless>=4.9"],
        "tfds": ["importlib_resources>=6", "tensorflow-datasets>=4.9.7"],
    },
)
