"""Of KerasHub's classes a file of a detector may name layers that only compute."""

import pytest

from ssd_keras.weights.kerashub_layers import is_kerashub_layer, names_kerashub

pytest.importorskip("keras_hub", exc_type=ImportError)


@pytest.mark.parametrize(
    ("module", "name", "registered", "known"),
    [
        ("keras_hub.src.models.hgnetv2.hgnetv2_encoder", "HGNetV2Encoder", None, True),
        ("x", "y", "keras_hub>HGNetV2Encoder", True),
        ("keras_hub.src.models.vgg.vgg_backbone", "VGGBackbone", None, True),
        ("keras_hub.src.models.bert.bert_tokenizer", "BertTokenizer", None, False),
        ("x", "y", "keras_hub>BertTokenizer", False),
        ("x", "y", "keras_hub>ImageConverter", False),
        ("keras_hub.src.utils.preset_utils", "KerasPresetLoader", None, False),
        ("keras_hub.src.models.no_such", "Thing", None, False),
        ("keras_hub.src.models.vgg.vgg_backbone", "apply_vgg_block", None, False),
    ],
)
def test_layers_in_files_are_those_that_only_compute(module, name, registered, known):
    assert names_kerashub(module, registered)
    assert is_kerashub_layer(module, name, registered) is known
