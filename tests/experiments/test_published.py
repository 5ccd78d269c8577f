"""Programs with the name of published weights in the place of a run folder."""

import json

import numpy as np
import pytest
from PIL import Image

import tests.tiny
from ssd_keras.weights import fetching, published
from tests.experiments.programs import end
from tests.programs import start

NAME = "ssd_mobilenet_v2_coco"


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Programs that find an import of that name in the cache, and one that does not."""
    folder = tmp_path_factory.mktemp("named")
    place = folder / "cache" / NAME / f"{NAME}-{published._version()}.keras"
    place.parent.mkdir(parents=True)
    tests.tiny.detector(["circle", "rectangle", "triangle", "star"]).save(place)
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(folder / "grey.png")
    kept, nowhere = ({fetching.CACHE: str(folder / name)} for name in ("cache", "other"))
    detect = ["experiments.detect", f"--images={folder / 'grey.png'}", f"--out={folder / 'out'}"]
    shapes = "--data=shapes#val,count=4,size=64"
    running = {
        "detect": start(*detect, f"--weights={NAME}", **kept),
        "evaluate": start(
            "experiments.evaluate", f"--run_dir={NAME}", shapes, f"--out={folder / 'ap'}", **kept
        ),
        "absent": start(
            *detect, f"--weights={NAME}", **nowhere, SSD_KERAS_MIRROR="http://127.0.0.1:9"
        ),
        "misspelt": start(*detect, "--weights=ssd_mobilnet_v2_coco", **kept),
    }
    return folder, {name: end(program) for name, program in running.items()}


@pytest.mark.parametrize(
    ("name", "written"), [("detect", "out/grey.json"), ("evaluate", "ap/metrics.json")]
)
def test_a_name_stands_for_a_detector(ended, name, written):
    folder, programs = ended
    assert programs[name].code == 0, programs[name].complaint
    assert json.loads((folder / written).read_text())


def test_what_is_fetched_is_said_before_and_what_to_do_without_a_network_behind(ended):
    _, programs = ended
    said, error = programs["absent"].complaint.strip().splitlines()
    assert programs["absent"].code == 2
    assert said.startswith(f"Fetching '{NAME}' (188 MB, Apache-2.0, TF Object Detection API")
    assert error.startswith("error: http://127.0.0.1:9/ssd_mobilenet_v2_coco_2018_03_29.tar.gz can")
    assert "or its 'frozen_inference_graph.pb' alone, into '" in error


def test_a_misspelt_name_is_one_line(ended):
    _, programs = ended
    assert programs["misspelt"].code == 2
    (line,) = programs["misspelt"].complaint.strip().splitlines()
    assert f"Did you mean '{NAME}'" in line
