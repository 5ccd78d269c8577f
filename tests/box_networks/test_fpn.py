"""The Box Networks of feature pyramids with a predictor shared by all levels."""

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.box_networks import FPN, FPNLite, MultiscaleAnchors, PANLite
from ssd_keras.box_networks.upsampling import NearestUpsampling
from ssd_keras.objectives import COMBINATIONS
from ssd_keras.training.stages import freeze_for_stage
from ssd_keras.traversal import leaf_layers


def maps(*sides, channels=4):
    """Symbolic maps of a Core Network, and random ones."""
    random = np.random.default_rng(0)
    inputs = {
        f"map{side}": keras.Input((side, side, channels), name=f"map{side}") for side in sides
    }
    values = {
        name: random.normal(size=(1, *x.shape[1:])).astype("float32") for name, x in inputs.items()
    }
    return inputs, values


def small(kind=FPNLite, sides=(8, 4, 2), image=64, **options):
    """A network on three random maps of a 64 px image, and the levels' maps as outputs."""
    settings = {**kind.usual, "channels": 8, "coarse_levels": 1, **options}
    network = kind(3, anchors=MultiscaleAnchors(), **settings)
    inputs, values = maps(*sides)
    predictions = network(inputs, (image, image))
    return network, keras.Model(inputs, predictions), values


def output_of(model, layer, values):
    return np.asarray(keras.Model(model.input, model.get_layer(layer).output)(values))


# === Enlarging ===


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "rows"),
    [
        (2, 4, [0, 0, 1, 1]),
        (2, 3, [0, 0, 1]),
        (2, 5, [0, 0, 1, 1, 1]),
        (2, 8, [0] * 4 + [1] * 4),
        (3, 3, [0, 1, 2]),
    ],
)
def test_cells_are_repeated_in_training_and_in_detection(before, after, rows, training):
    x = np.random.default_rng(0).normal(size=(2, before, before + 1, 3)).astype("float32")
    found = NearestUpsampling((after, 2 * (before + 1)))(x, training=training)
    wanted = x[:, rows][:, :, np.repeat(np.arange(before + 1), 2)]
    np.testing.assert_array_equal(found, wanted)


# === Pyramid ===


def test_the_coarsest_map_is_its_lateral_alone_and_the_next_level_follows_from_it():
    network, model, values = small()
    lateral = output_of(model, "fpn2_lateral", values)
    kernel, bias = model.get_layer("fpn2_lateral").get_weights()
    np.testing.assert_allclose(lateral, values["map2"] @ kernel[0, 0] + bias, atol=1e-5)
    assert lateral.min() < 0
    assert model.get_layer("fpn3_coarse_depthwise").input is model.get_layer("fpn2_lateral").output
    assert network.level_maps == ((8, 8), (4, 4), (2, 2), (1, 1))


def test_a_finer_map_is_smoothed_from_its_sum_with_the_smoothed_coarser_one():
    _, model, values = small()
    above = output_of(model, "fpn1_smooth_relu6", values)
    lateral = output_of(model, "fpn0_lateral", values)
    wanted = lateral + above.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(output_of(model, "fpn0_sum", values), wanted, atol=1e-5)
    assert model.get_layer("fpn0_smooth_depthwise").input is model.get_layer("fpn0_sum").output


def test_maps_that_do_not_halve_are_joined_too():
    network, model, values = small(sides=(9, 4, 2), image=72)
    assert network.level_maps == ((9, 9), (4, 4), (2, 2), (1, 1))
    assert np.all(np.isfinite(model(values)["boxes"]))


def test_a_pan_carries_the_fine_maps_back_into_the_coarse_ones():
    network, model, values = small(PANLite, tower_depth=1)
    down = output_of(model, "fpn1_back_down_relu6", values)
    wanted = down + output_of(model, "fpn1_smooth_relu6", values)
    np.testing.assert_allclose(output_of(model, "fpn1_back_sum", values), wanted, atol=1e-5)
    # The coarsest map meets the finer one's result, and the level after it follows from both.
    above = output_of(model, "fpn2_lateral_relu6", values)
    wanted = output_of(model, "fpn2_back_down_relu6", values) + above
    np.testing.assert_allclose(output_of(model, "fpn2_back_sum", values), wanted, atol=1e-5)
    after = model.get_layer("fpn2_back_smooth_relu6").output
    assert model.get_layer("fpn3_coarse_depthwise").input is after
    assert network.level_maps == ((8, 8), (4, 4), (2, 2), (1, 1))
    assert model.get_layer("predictor_tower0_depthwise").kernel.shape[:2] == (5, 5)


@pytest.mark.parametrize(("sides", "image"), [((9, 4, 2), 72), ((16, 4), 64)])
def test_a_pan_joins_maps_that_do_not_halve(sides, image):
    network, model, values = small(PANLite, sides=sides, image=image, tower_depth=0)
    assert network.level_maps[: len(sides)] == tuple((side, side) for side in sides)
    assert np.all(np.isfinite(model(values)["boxes"]))


# === Predictor ===


def test_convolutions_are_shared_by_the_levels_and_batch_norms_are_not():
    network, model, _ = small(tower_depth=2)
    names = [layer.name for layer in model.layers if layer.name.startswith("predictor_tower")]
    shared = [name for name in names if not name.endswith(("_bn", "_relu6"))]
    assert sorted(shared) == [
        *("predictor_tower0", "predictor_tower0_depthwise"),
        *("predictor_tower1", "predictor_tower1_depthwise"),
    ]
    assert sum(name.endswith("_bn") for name in names) == 2 * len(network.level_maps)
    assert network.class_layers == ("predictor_classes",)


def test_a_level_is_predicted_from_as_its_own_map_alone_would_be():
    """The shared predictor must not mix levels, rows, columns or boxes of a cell."""
    _, model, values = small()
    before = {key: np.asarray(value) for key, value in model(values).items()}
    values["map8"][0, 7, 7] += 1.0
    for key, value in model(values).items():
        changed = np.any(np.asarray(value) != before[key], axis=-1)[0]
        finest, others = changed[: 8 * 8 * 6].reshape(8, 8, 6), changed[8 * 8 * 6 :]
        assert finest[7, 7].all(), key
        assert not finest[0, 0].any(), key
        assert not others.any(), key


def test_two_towers_of_plain_convolutions():
    _, model, _ = small(FPN, tower_depth=1)
    names = {layer.name for layer in model.layers}
    assert {"predictor_box_tower0", "predictor_class_tower0"} <= names
    assert not any("depthwise" in name for name in names)
    assert model.get_layer("predictor_box_tower0_level1_bn").input is not (
        model.get_layer("predictor_class_tower0_level1_bn").input
    )
    assert model.get_layer("predictor_classes").kernel.shape == (3, 3, 8, 6 * 4)


# === What it learns ===


def test_objects_are_rare_before_anything_is_learned():
    network, model, values = small()
    _, scores = network.decode(model(values))
    assert network.scores == "sigmoid"
    assert float(np.median(scores)) == pytest.approx(0.01, rel=0.2)


def test_the_loss_is_the_apis():
    """Focal loss of all default boxes, and smooth L1 over 4 codes, both over the matches."""
    network, model, values = small()
    predictions = {key: np.asarray(value, "float64") for key, value in model(values).items()}
    truth = np.array([[[0.1, 0.2, 0.7, 0.8], [-1, -1, -1, -1]]], "float32")
    targets = {key: np.asarray(x) for key, x in network.encode(truth, [[2, -1]]).items()}
    positive = targets["positive"]
    wanted = np.eye(4)[targets["classes"]][..., 1:]
    p = 1 / (1 + np.exp(-predictions["classes"][..., 1:]))
    p_wanted = np.where(wanted > 0, p, 1 - p)
    focal = -np.where(wanted > 0, 0.25, 0.75) * (1 - p_wanted) ** 2 * np.log(p_wanted)
    error = np.abs(targets["codes"] - predictions["boxes"])[positive]
    huber = np.where(error < 1, 0.5 * error**2, error - 0.5).mean(axis=-1)
    found = network.loss(targets, model(values))
    assert positive.sum() > 1
    np.testing.assert_allclose(found["class_loss"], focal.sum() / positive.sum(), rtol=1e-4)
    np.testing.assert_allclose(found["box_loss"], huber.sum() / positive.sum(), rtol=1e-4)


def test_config_builds_the_same_box_network():
    network, *_ = small(tower_depth=2, class_loss="mined")
    again = FPNLite.from_config(network.get_config())
    assert again.get_config() == network.get_config()
    assert again.anchor_rule == network.anchor_rule
    assert again.objective.class_loss == "mined"


@pytest.mark.parametrize(("kind", "kernel"), [(FPNLite, 3), (PANLite, 5)])
def test_separable_convolutions_hand_on_what_they_get_at_first(kind, kernel):
    _, model, _ = small(kind, channels=64)
    names = [layer.name for layer in leaf_layers(model) if layer.name.endswith("_depthwise")]
    assert "predictor_tower0_depthwise" in names
    assert "predictor_classes_depthwise" in names
    for name in names:
        (weights,) = model.get_layer(name).get_weights()
        assert weights.shape == (kernel, kernel, 64, 1)
        middle = weights[kernel // 2, kernel // 2].copy()
        weights[kernel // 2, kernel // 2] -= 1
        assert abs(middle.mean() - 1) < 0.1
        assert 0.1 < weights.std() < 0.2


@pytest.mark.parametrize(
    ("kind", "class_loss", "scores"),
    [(FPN, "focal", "sigmoid"), (FPNLite, "focal", "sigmoid"), (PANLite, "mined", "softmax")],
)
def test_what_is_learned_unless_told_otherwise(kind, class_loss, scores):
    network, *_ = small(kind)
    assert (network.objective.class_loss, network.scores) == (class_loss, scores)
    assert kind.from_config(network.get_config()).objective == network.objective


@pytest.mark.parametrize(
    ("objective", "class_loss", "columns"),
    [("multibox", "mined", 4), ("atss", "quality_focal", 3)],
)
def test_an_objective_that_is_named_has_its_own_parts(objective, class_loss, columns):
    network, model, _ = small(objective=objective)
    assert network.objective == COMBINATIONS[objective]
    assert network.objective.class_loss == class_loss
    assert model.output["classes"].shape[-1] == columns
    again = FPNLite.from_config(network.get_config())
    assert again.objective == network.objective


# === On a Core Network ===


@pytest.fixture(scope="module")
def on_mobilenet():
    return ssd_keras.create("FPNLite_MobileNetV2_96", ["cat", "dog"], width=0.35)


def test_it_joins_the_ends_of_the_stages(on_mobilenet):
    assert list(on_mobilenet.backbone.output) == ["block_5_add", "block_12_add", "out_relu"]
    network = on_mobilenet.box_network
    assert network.channels == 44
    # Of an image this small the coarsest level is a single cell before its stride is 128.
    assert network.level_maps == ((12, 12), (6, 6), (3, 3), (2, 2), (1, 1))


def test_the_first_stage_trains_all_but_the_core(on_mobilenet):
    freeze_for_stage(on_mobilenet, "stage1")
    learns = {layer.name for layer in leaf_layers(on_mobilenet) if layer.trainable_weights}
    freeze_for_stage(on_mobilenet, "joint")
    assert learns
    assert all(name.startswith(("fpn", "predictor")) for name in learns)
    core = {layer.name for layer in on_mobilenet.backbone.layers}
    own = {layer.name for layer in leaf_layers(on_mobilenet) if layer.weights} - core
    assert own == learns


@pytest.mark.parametrize(
    ("options", "levels", "smallest"),
    [
        ({"finest_stride": 16}, ((6, 6), (3, 3), (2, 2), (1, 1)), 4 * 16 / 96),
        ({"smallest_box": 0.1}, ((12, 12), (6, 6), (3, 3), (2, 2), (1, 1)), 0.1),
    ],
)
def test_wishes_for_default_boxes(options, levels, smallest):
    network = ssd_keras.create("FPNLite_MobileNet_96", ["cat"], width=0.25, **options).box_network
    assert network.level_maps == levels
    first = network.anchors[0]
    assert first[2] - first[0] == pytest.approx(smallest, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tower_depth": 1000}, "tower_depth must be 0 to 32, got 1000"),
        ({"coarse_levels": -1}, "coarse_levels must be 0 to 8, got -1"),
    ],
)
def test_depths_beyond_reason_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FPNLite(3, anchors=MultiscaleAnchors(), **options)


def test_a_scale_of_the_default_boxes_is_no_wish_it_has():
    message = "default boxes of FPNLite follow from the strides.*leave out box_scale"
    with pytest.raises(ssd_keras.UserError, match=message):
        ssd_keras.create("FPNLite_MobileNet_96", ["cat"], width=0.25, box_scale="voc")


def test_levels_of_different_counts_of_boxes_cannot_share_a_predictor():
    from ssd_keras.box_networks import ScaleAnchors

    with pytest.raises(ssd_keras.UserError, match="as many default boxes a cell"):
        ssd_keras.create("FPNLite_MobileNet_96", ["cat"], width=0.25, anchors=ScaleAnchors())
