"""The numbers and pictures of a run for TensorBoard, which need not be installed to write them."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from ssd_keras import sheets
from ssd_keras.detector import Detector
from ssd_keras.files import replace
from ssd_keras.run_folder import RunFolder
from ssd_keras.training.callbacks import is_best, predictions_picture


class TensorBoard(keras.callbacks.Callback):
    """Writes each epoch's numbers, and with each evaluation some predictions, for TensorBoard.

    The predictions of the best epoch become pictures/predictions.png, too. `rows` are those that
    the `Recorder` adds to, which must come before.
    """

    def __init__(self, folder: RunFolder, judged: Detector, source, rows: list, batch_size: int):
        super().__init__()
        self.folder, self.judged, self.source, self.rows = folder, judged, source, rows
        self.batch_size = batch_size
        self.writer = None

    def on_epoch_end(self, epoch, logs=None):
        if self.writer is None:
            self.writer = tf.summary.create_file_writer(str(self.folder.tensorboard))
        row = self.rows[-1]
        with self.writer.as_default(step=epoch + 1):
            for name, value in row.items():
                if name != "epoch":
                    write_scalar(name, value)
            if "ap50" in row:
                picture = predictions_picture(self.judged, self.source, self.batch_size)
                write_image("predictions", picture)
                if is_best(self.rows):
                    replace(
                        self.folder.predictions,
                        lambda path: sheets.save(picture, path),
                    )
        self.writer.flush()


def write_scalar(name: str, value: float):
    """What `tf.summary.scalar` writes; that function wants TensorBoard installed."""
    tf.summary.write(name, tf.constant(value, tf.float32), metadata=_metadata("scalars", 1))


def write_image(name: str, image: np.ndarray):
    """What `tf.summary.image` writes of an RGB uint8 image `[H, W, 3]`."""
    height, width, _ = image.shape
    content = [str(width), str(height), tf.io.encode_png(image)]
    tf.summary.write(name, tf.stack(content), metadata=_metadata("images", 3))


def _metadata(plugin: str, data_class: int):
    metadata = tf.compat.v1.SummaryMetadata(data_class=data_class)
    metadata.plugin_data.plugin_name = plugin
    return metadata
