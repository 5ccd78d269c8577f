"""The earlier place of `evaluation.detect_source`."""

from ssd_keras.evaluation.detecting import detect_source as detect_source
