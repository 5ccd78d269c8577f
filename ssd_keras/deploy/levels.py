"""Splits a network's outputs into the levels they are joined from, for quantization.

A tensor of an int8 file has one scale. Where the levels of a detector are joined inside of it, the
level with the largest values sets the step for all the others: a DSSD whose coarsest level is sure
of its background to a logit of 100,000 finds nothing in the fine levels any more. So each level
leaves the quantized network by itself, with a scale of its own, and they are joined in float.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import keras
import tensorflow as tf

from ssd_keras.deploy.converter import convert


@dataclasses.dataclass(frozen=True)
class JoinedOutput:
    """An output of a network and what it is made of.

    Attributes:
        name: of the output.
        parts: symbolic tensors `[B, ...]`, the levels; only the output itself if it is no
            concatenation.
        axis: along which they are joined.
    """

    name: str
    parts: tuple
    axis: int = 1

    @property
    def specs(self) -> list[tf.TensorSpec]:
        """The parts of one image, named "boxes_0", "boxes_1" ..."""
        return [
            tf.TensorSpec([1, *part.shape[1:]], tf.float32, f"{self.name}_{index}")
            for index, part in enumerate(self.parts)
        ]


def joined_outputs(model: keras.Model) -> list[JoinedOutput]:
    """The outputs of a functional model with a dict of outputs."""
    joins = [layer for layer in model.layers if isinstance(layer, keras.layers.Concatenate)]
    outputs = []
    for name, output in model.output.items():
        found = JoinedOutput(name, (output,))
        for layer in joins:
            if layer.output is output:
                found = JoinedOutput(name, tuple(layer.input), layer.axis)
        outputs.append(found)
    return outputs


def split_levels(model: keras.Model, outputs: list[JoinedOutput]) -> keras.Model:
    """The same network, its parts as outputs: "boxes_0", "boxes_1" ..."""
    parts = {
        spec.name: part
        for output in outputs
        for spec, part in zip(output.specs, output.parts, strict=True)
    }
    return keras.Model(model.input, parts)


def join(outputs: list[JoinedOutput], parts: Mapping) -> dict:
    """The outputs, by name, from their parts by name."""
    return {
        output.name: tf.concat([parts[spec.name] for spec in output.specs], output.axis)
        for output in outputs
    }


def join_model(outputs: list[JoinedOutput]) -> bytes:
    """A .tflite file from the parts of all outputs to the outputs, to be appended."""
    specs = [spec for output in outputs for spec in output.specs]
    names = [spec.name for spec in specs]
    return convert(lambda *tensors: join(outputs, dict(zip(names, tensors, strict=True))), specs)
