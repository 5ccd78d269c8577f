"""Values that nobody gave follow the published recipe, the batch and the size of the data."""

import pytest

from ssd_keras.errors import UserError
from ssd_keras.training import suggest

DATA = {"train_data": "shapes#train"}
VOC_IMAGES, COCO_IMAGES = 16_551, 118_287


def test_the_published_steps_of_ssd300_on_voc():
    settings = suggest("SSD_VGG16_300", VOC_IMAGES, DATA)
    recipe = settings.recipe
    assert recipe.epochs * VOC_IMAGES / recipe.batch_size == pytest.approx(120_000, rel=0.01)
    assert (recipe.optimizer, recipe.learning_rate, recipe.batch_size) == ("sgd", 1e-3, 32)
    assert recipe.milestones == pytest.approx((80 / 120, 100 / 120))
    assert settings.augmentation == "ssd"


@pytest.mark.parametrize(
    ("model", "steps", "batch", "milestones"),
    [
        ("SSD_VGG16_512", 400_000, 32, (280 / 400, 360 / 400)),
        ("SSD_ResNet101_513", 250_000, 40, (130 / 250, 210 / 250)),
        ("DSSD_ResNet101_513", 250_000, 40, (130 / 250, 210 / 250)),
    ],
)
def test_coco_is_trained_by_its_own_recipe(model, steps, batch, milestones):
    settings = suggest(model, COCO_IMAGES, DATA)
    recipe = settings.recipe
    assert recipe.epochs * COCO_IMAGES / recipe.batch_size == pytest.approx(steps, rel=0.01)
    assert (recipe.batch_size, recipe.learning_rate) == (batch, 1e-3)
    assert recipe.milestones == pytest.approx(milestones)
    assert settings.box_scale == "coco"


@pytest.mark.parametrize(
    ("model", "images", "given", "scale"),
    [
        ("SSD_VGG16_300", VOC_IMAGES, {}, ""),
        ("SSD_VGG16_300", COCO_IMAGES, {"box_scale": "voc"}, "voc"),
        ("SSD_VGG16_300", COCO_IMAGES, {"smallest_box": 0.05}, ""),
        # Its boxes are those of the detector that it starts from.
        ("SSD_VGG16_300", COCO_IMAGES, {"weights": "runs/voc"}, ""),
        ("YOLO_Inception_500", COCO_IMAGES, {}, ""),
        ("FPNLite_MobileNetV2_320", COCO_IMAGES, {}, ""),
    ],
)
def test_boxes_are_smaller_on_coco_unless_something_else_says_their_size(
    model, images, given, scale
):
    assert suggest(model, images, DATA | given).box_scale == scale


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ({"batch_size": 16}, 5e-4),
        ({"batch_size": 16, "accumulation": 2}, 1e-3),
        ({"batch_size": 16, "learning_rate": 0.02}, 0.02),
    ],
)
def test_the_rate_of_sgd_follows_the_images_per_update(given, rate):
    recipe = suggest("SSD_VGG16_300", VOC_IMAGES, DATA | given).recipe
    assert recipe.learning_rate == pytest.approx(rate)


def test_a_small_set_is_fine_tuned_on():
    settings = suggest("SSD_VGG16_300", 205, DATA | {"backbone_weights": "imagenet"})
    assert settings.recipe.optimizer == "adamw"
    assert settings.recipe.epochs == 30
    assert settings.augmentation == "light"
    assert settings.eval_every == 3


@pytest.mark.parametrize(
    ("model", "backbone", "rate"),
    [
        ("SSD_MobileNet_300", None, 1e-3),
        ("SSD_Inception_500", None, 1e-3),
        ("DSSD_VGG16_300", None, 1e-4),
        ("SSD_VGG19_300", None, 1e-4),
        ("SSD_DenseNet121_300", None, 1e-3),
        ("SSD_Mine_300", "kerashub:vgg_16_imagenet", 1e-4),
        ("SSD_Mine_300", "kerashub:resnet_18_imagenet", 1e-3),
    ],
)
def test_a_core_without_batch_norms_is_fine_tuned_in_smaller_steps(model, backbone, rate):
    recipe = suggest(model, 205, DATA | {"backbone": backbone}).recipe
    assert recipe.learning_rate == pytest.approx(rate)


@pytest.mark.parametrize(("kind", "rate"), [("VGGBackbone", 1e-4), ("ResNetBackbone", 1e-3)])
def test_so_is_the_vgg_of_a_folder(tmp_path, kind, rate):
    (tmp_path / "config.json").write_text(f'{{"registered_name": "keras_hub>{kind}"}}')
    recipe = suggest("SSD_Mine_300", 205, DATA | {"backbone": f"kerashub:{tmp_path}"}).recipe
    assert recipe.learning_rate == pytest.approx(rate)


def test_the_root_of_the_batch_for_adamw():
    recipe = suggest("SSD_MobileNet_300", 205, DATA | {"batch_size": 32}).recipe
    assert recipe.learning_rate == pytest.approx(2e-3)


def test_random_weights_get_more_epochs():
    fine = suggest("SSD_MobileNet_300", 400, DATA | {"backbone_weights": "imagenet"}).recipe
    assert suggest("SSD_MobileNet_300", 400, DATA).recipe.epochs == 3 * fine.epochs


@pytest.mark.parametrize("images", [1, 3])
def test_a_batch_is_never_larger_than_the_data(images):
    assert suggest("SSD_MobileNet_300", images, DATA).recipe.batch_size == images


@pytest.mark.parametrize(
    ("model", "optimizer", "batch"),
    [
        ("SSD_MobileNet_300", "rmsprop", 24),
        ("DSSD_ResNet101_321", "sgd", 32),
        ("YOLO_Inception_500", "sgd", 64),
    ],
)
def test_every_family_has_its_own(model, optimizer, batch):
    recipe = suggest(model, VOC_IMAGES, DATA).recipe
    assert (recipe.optimizer, recipe.batch_size) == (optimizer, batch)


def test_a_model_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match="Did you mean 'SSD_VGG16_300'"):
        suggest("SSD_VGG_300", VOC_IMAGES, DATA)


@pytest.mark.parametrize(
    ("model", "images", "given", "choice"),
    [
        ("SSD_MobileNet_300", 205, {}, "auto"),
        ("DSSD_MobileNetV2_300", 4999, {}, "auto"),
        ("SSDLite_MobileDetCPU_320", 205, {"box_scale": ""}, "auto"),
        ("SSD_MobileNet_300", 5000, {}, "published"),
        ("SSD_VGG16_300", 205, {}, "published"),
        ("FPNLite_MobileNetV2_320", 205, {}, "published"),
        ("YOLO_MobileNet_300", 205, {}, "published"),
        ("SSD_MobileNet_300", 205, {"weights": "runs/coco"}, "published"),
        ("SSD_MobileNet_300", 205, {"finest_stride": 16}, "published"),
        ("SSD_MobileNet_300", 205, {"smallest_box": 0.1}, "published"),
        ("SSD_MobileNet_300", 205, {"box_scale": "coco"}, "published"),
        ("SSD_MobileNet_300", 205, {"model_options": {"anchors": {}}}, "published"),
        ("SSD_Mine_300", 205, {"backbone": "mine.py:mine"}, "published"),
        ("SSD_MobileNet_300", 205, {"default_boxes": "published"}, "published"),
    ],
)
def test_default_boxes_follow_the_data_of_small_sets(model, images, given, choice):
    assert suggest(model, images, DATA | given).default_boxes == choice
