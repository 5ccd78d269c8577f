"""Run by tests in a process of its own: IMAGES.npy MODEL.tflite ... -> detections as JSON.

A line for each image of each model.

Kept apart, because MediaPipe may end or stop the whole process on a file it does not like.
"""

import json
import sys

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision


def main(images: str, *models: str):
    for model in models:
        options = vision.ObjectDetectorOptions(
            base_options=BaseOptions(model_asset_path=model), score_threshold=0.3
        )
        with vision.ObjectDetector.create_from_options(options) as detector:
            for image in np.load(images):
                frame = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
                print(json.dumps([_row(found) for found in detector.detect(frame).detections]))


def _row(found) -> dict:
    box, category = found.bounding_box, found.categories[0]
    corners = [box.origin_y, box.origin_x, box.origin_y + box.height, box.origin_x + box.width]
    return {"box": corners, "name": category.category_name, "score": category.score}


if __name__ == "__main__":
    main(*sys.argv[1:])
