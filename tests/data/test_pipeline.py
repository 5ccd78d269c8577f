"""Batches: the same to the bit whatever the parallelism, cache, restart or sharding."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd_keras import data, resizing
from ssd_keras.data import augmentation, tfrecord
from ssd_keras.errors import UserError
from tests.data import samples
from tests.data.samples import voc_image, voc_object

OPTIONS = {"image_size": (32, 40), "batch_size": 4, "seed": 5}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("voc")
    for index in range(11):
        objects = "".join(voc_object(box=(5 + i, 6, 30 + 2 * i, 40)) for i in range(index % 4))
        # Some images that only the careful reader takes.
        extra = {"progressive": True} if index % 3 == 0 else {}
        voc_image(root, f"{index:02d}", objects, seed=index, **extra)
    return data.load_source(f"voc:{root}", ["cat"])


def batches(source, steps=6, **options):
    found = data.training_batches(source, steps=steps, **(OPTIONS | options))
    return [(i.numpy(), t["boxes"].numpy(), t["labels"].numpy()) for i, t in found]


@pytest.fixture(scope="module")
def reference(source):
    return batches(source)


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("parallelism", [1, pytest.param(3, marks=pytest.mark.slow), None])
def test_parallelism_changes_no_bit(source, reference, parallelism):
    assert_same(batches(source, parallelism=parallelism), reference)


def test_the_cache_changes_no_bit(source, reference):
    assert_same(batches(source, cache_bytes=0), reference)


def test_a_source_is_traced_and_decoded_once_for_all_batches_of_it(tmp_path, monkeypatch):
    for index in range(4):
        voc_image(tmp_path, f"{index}", voc_object(), seed=index)
    source = data.load_source(f"voc:{tmp_path}", ["cat"])
    read, traced = [], []
    image, apply = source.image, augmentation.apply
    monkeypatch.setattr(source, "image", lambda index: read.append(index) or image(index))
    monkeypatch.setattr(augmentation, "apply", lambda *given: traced.append(1) or apply(*given))
    first = batches(source, steps=1, augmentation="none")
    assert (sorted(read), len(traced)) == ([0, 1, 2, 3], 1)
    again = batches(source, steps=2, augmentation="none")
    assert (sorted(read), len(traced)) == ([0, 1, 2, 3], 1)
    assert_same(again[:1], first)


@pytest.mark.parametrize("first", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_resuming_gives_the_same_batches(source, reference, first):
    """Two steps are an epoch here, so 1 and 3 lie in the middle of one."""
    assert_same(batches(source, first_step=first, steps=6 - first), reference[first:])


def test_records_give_the_same_batches_as_files(source, reference, tmp_path):
    tfrecord.write(source, str(tmp_path / "x"))
    packed = data.load_source(f"tfrecord:{tmp_path}")
    assert_same(batches(packed), reference)


def test_workers_share_each_batch(source, reference):
    parts = [batches(source, shard=(i, 2)) for i in range(2)]
    joined = [
        tuple(np.concatenate(pair) for pair in zip(*both, strict=True))
        for both in zip(*parts, strict=True)
    ]
    assert_same(joined, reference)


def test_another_seed_gives_other_batches(source, reference):
    other = batches(source, seed=6)
    assert not np.array_equal(other[0][0], reference[0][0])


def test_epochs_are_permutations_without_repetition(source):
    plain = {"augmentation": "none", "batch_size": 2, "image_size": (48, 64)}
    found = np.concatenate([i for i, _, _ in batches(source, steps=10, **plain)])
    keys = [image.tobytes() for image in found]
    first, second = keys[:10], keys[10:]
    assert len(set(first)) == len(set(second)) == 10
    assert first != second


def test_a_small_source_fills_a_large_batch(source):
    ((images, _, _),) = batches(source, steps=1, batch_size=22, augmentation="none")
    keys = [image.tobytes() for image in images]
    assert sorted(keys[:11]) == sorted(keys[11:])


def test_shapes_types_and_padding(source, reference):
    for images, boxes, labels in reference:
        assert images.shape == (4, 32, 40, 3)
        assert images.dtype == np.uint8
        assert boxes.shape == (4, 100, 4)
        assert boxes.dtype == np.float32
        assert labels.shape == (4, 100)
        assert labels.dtype == np.int32
        assert (boxes[labels < 0] == -1).all()
        assert (boxes[labels >= 0] >= 0).all()


def test_float_images_have_the_same_values(source, reference):
    floats = batches(source, dtype="float32")
    np.testing.assert_array_equal(np.rint(floats[0][0]).astype(np.uint8), reference[0][0])


def test_plain_batches_equal_the_ground_truth(source):
    found = batches(source, steps=2, augmentation="none", image_size=(48, 64))
    truth = {source.image(i).tobytes(): t for i, t in enumerate(source.ground_truth())}
    for images, boxes, labels in found:
        for image, box, label in zip(images, boxes, labels, strict=True):
            expected = truth[image.tobytes()]
            np.testing.assert_allclose(box[label >= 0], expected.boxes, atol=1e-6)


def test_what_exceeds_the_maximum_is_counted_and_said(source):
    said = "2 objects of 2 images are beyond max_boxes=2, .* max_boxes=3 takes all"
    with pytest.warns(UserWarning, match=said) as caught:
        found = batches(source, steps=2, max_boxes=2, augmentation="none")
    assert found[0][1].shape == (4, 2, 4)
    assert len(caught) == 1


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Four images of 24 objects."""
    root = tmp_path_factory.mktemp("crowded")
    places = itertools.product(range(1, 60, 10), range(1, 40, 10))
    objects = "".join(voc_object(box=(x, y, x + 8, y + 8)) for x, y in places)
    for index in range(4):
        voc_image(root, f"{index}", objects, seed=index)
    return data.load_source(f"voc:{root}")


MOSAIC = {"steps": 3, "augmentation": "mosaic", "image_size": (64, 64)}


def test_a_mosaic_has_room_for_the_objects_of_four_images(crowded):
    narrow, wide = (batches(crowded, max_boxes=most, **MOSAIC) for most in (24, 96))
    for (_, boxes, labels), (_, all_boxes, all_labels) in zip(narrow, wide, strict=True):
        assert labels.shape == all_labels.shape == (4, 96)
        np.testing.assert_array_equal(boxes, all_boxes)
        np.testing.assert_array_equal(labels, all_labels)
    assert max((labels >= 0).sum(axis=1).max() for _, _, labels in wide) > 24


def test_all_images_of_a_mosaic_are_known(crowded):
    options = {"batch_size": 2, "seed": 5}
    first = [i for s in range(4) for i in data.batch_indices(crowded, s, **options)]
    all_four = [i for s in range(4) for i in data.batch_indices(crowded, s, mosaic=True, **options)]
    assert all_four[::4] == first
    # Each quarter shows each image once an epoch, in an order of its own.
    orders = [all_four[quarter::4][:4] for quarter in range(4)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len(set(map(tuple, orders))) > 1


def test_each_image_of_a_mosaic_is_cut_off_by_itself(crowded):
    """Or the last quarters would teach their objects as background."""
    with pytest.warns(UserWarning, match="84 objects of 4 images are beyond max_boxes=3"):
        found = batches(crowded, max_boxes=3, **MOSAIC)
    boxes = np.concatenate([boxes[labels >= 0] for _, boxes, labels in found])
    rows, columns = (boxes[:, :2] + boxes[:, 2:]).T > 1
    counts = [np.sum((rows == row) & (columns == column)) for row in (0, 1) for column in (0, 1)]
    # Twelve mosaics; crops leave fewer than three here and there.
    assert min(counts) >= 12
    assert max(counts) <= 36


def test_training_leaves_crowds_out_and_keeps_difficult_objects(tmp_path):
    crowd = {"id": 5, "image_id": 0, "category_id": 7, "bbox": [1, 1, 60, 40], "iscrowd": 1}
    samples.coco(tmp_path / "coco", annotations=[crowd])
    source = data.load_source(f"coco:{tmp_path}/coco")
    assert sum(len(t) for t in source.ground_truth()) == 3
    ((_, _, labels),) = batches(source, steps=1, batch_size=2, augmentation="none")
    assert (labels >= 0).sum() == 2
    voc_image(tmp_path / "voc", "a", voc_object(difficult=1))
    hard = data.load_source(f"voc:{tmp_path}/voc")
    assert hard.ground_truth()[0].difficult.tolist() == [True]
    ((_, _, labels),) = batches(hard, steps=1, batch_size=1, augmentation="none")
    assert (labels >= 0).sum() == 1


@pytest.mark.parametrize("augmentation", ["light", pytest.param("mosaic", marks=pytest.mark.slow)])
def test_other_chains_repeat_too(source, augmentation):
    first = batches(source, steps=2, augmentation=augmentation)
    assert_same(batches(source, steps=2, augmentation=augmentation, parallelism=1), first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmentation": "sdd"}, "Did you mean 'ssd'"),
        ({"shard": (0, 3)}, "shared evenly"),
        ({"augmentation": "mosaic", "image_size": (31, 40)}, "even sides"),
    ],
)
def test_wrong_options_are_explained(source, options, message):
    with pytest.raises(UserError, match=message):
        data.training_batches(source, **(OPTIONS | options))


def test_evaluation_keeps_the_order_and_fills_the_last_batch(source):
    found = list(data.evaluation_batches(source, image_size=(48, 64), batch_size=4))
    index = np.concatenate([batch["index"].numpy() for batch in found])
    assert index.tolist() == [*range(11), -1]
    images = np.concatenate([batch["images"].numpy() for batch in found])
    assert images.shape == (12, 48, 64, 3)
    for i in range(11):
        np.testing.assert_array_equal(images[i], source.image(i))
    assert not images[11].any()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """Plain JPEGs of which most are damaged inside, where no header tells; the first is good."""
    root = tmp_path_factory.mktemp("damaged")
    chance = np.random.default_rng(0)
    for index in range(24):
        voc_image(root, f"{index:02d}", voc_object(), seed=index, quality=95)
        path = root / "JPEGImages" / f"{index:02d}.jpg"
        content = bytearray(path.read_bytes())
        if index:
            at = int(chance.integers(len(content) // 2, len(content) - 80))
            size = (16, 1, 4)[index % 3]
            content[at : at + size] = b"\xff" * size
            path.write_bytes(content)
    return root


def evaluated(source, **options):
    options = {"image_size": (48, 64), "batch_size": 5} | options
    found = data.evaluation_batches(source, **options)
    found = [{key: value.numpy() for key, value in batch.items()} for batch in found]
    return {key: np.concatenate([batch[key] for batch in found]) for key in found[0]}


def test_damaged_images_are_the_same_by_the_fast_and_by_the_careful_way(damaged):
    fast, careful = (data.load_source(f"voc:{damaged}") for _ in range(2))
    assert fast.standard_jpeg.all()
    careful.standard_jpeg[:] = False
    found, wanted = evaluated(fast), evaluated(careful)
    for key in wanted:
        np.testing.assert_array_equal(found[key], wanted[key])
    assert found["readable"][0]
    assert 3 < len(fast.unread) == len(careful.unread) < 23
    assert found["readable"].sum() == 24 - len(fast.unread)
    assert fast.unread == careful.unread
    assert not found["images"][~found["readable"]].any()


@pytest.mark.parametrize("parallelism", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_damaged_images_teach_nothing_and_change_no_other_bit(damaged, parallelism, caplog):
    source = data.load_source(f"voc:{damaged}")
    careful = data.load_source(f"voc:{damaged}")
    careful.standard_jpeg[:] = False
    options = {"cache_bytes": 0, "steps": 12, "augmentation": "light"}
    found = batches(source, parallelism=parallelism, **options)
    assert_same(found, batches(careful, parallelism=2, **options))
    without = sum((labels < 0).all(1).sum() for _, _, labels in found)
    assert without == 2 * len(source.unread)
    said = [record.getMessage() for record in caplog.records]
    for reason in source.unread.values():
        assert sum(reason in line for line in said) == 2  # once by each source
    assert f"{len(source.unread)} of 24 images could not be read" in data.unread_notice(source)


def test_a_file_that_is_gone_or_replaced_during_training_is_left_out(tmp_path):
    for index in range(4):
        voc_image(tmp_path, f"{index}", voc_object(), seed=index)
    source = data.load_source(f"voc:{tmp_path}")
    paths = [truth.path for truth in source.ground_truth()]
    Path(paths[1]).unlink()
    Path(paths[2]).write_bytes(b"")
    assert evaluated(source)["readable"].tolist() == [True, False, False, True, False]
    assert "No such file" in source.unread[1]
    assert "empty" in source.unread[2]


def test_records_that_shrink_are_left_out(tmp_path):
    for index in range(3):
        voc_image(tmp_path / "voc", f"{index}", voc_object(), seed=index)
    (path,) = tfrecord.write(data.load_source(f"voc:{tmp_path}/voc"), str(tmp_path / "x"))
    source = data.load_source(f"tfrecord:{path}")
    assert source.standard_jpeg.all()
    with open(path, "rb+") as file:
        file.truncate(os.path.getsize(path) // 2)
    assert evaluated(source)["readable"].tolist() == [True, False, False, False, False]


def test_drawn_shapes_train_and_resume():
    shapes = data.load_source("shapes#train,count=9,size=64")
    first = batches(shapes, steps=4)
    assert_same(batches(shapes, steps=2, first_step=2, parallelism=1, cache_bytes=0), first[2:])
    assert sum((labels >= 0).sum() for _, _, labels in first) > 10


@pytest.mark.parametrize("way", resizing.WAYS)
def test_images_are_resized_in_the_way_that_is_asked_for(source, way):
    size = (32, 40)
    wanted = [np.round(resizing.resize(source.image(i), size, way)) for i in range(len(source))]
    found = evaluated(source, resize=way, image_size=size)["images"][: len(source)]
    np.testing.assert_array_equal(found, wanted)
    trained = batches(source, 2, augmentation="none", resize=way)
    for step, (images, _, _) in enumerate(trained):
        for image, index in zip(
            images, data.batch_indices(source, step, batch_size=4, seed=5), strict=True
        ):
            np.testing.assert_allclose(image, wanted[index], atol=1)
            assert (image == wanted[index]).mean() > 0.99


# --- options of recipes


def test_options_that_are_not_asked_for_change_no_bit(source, reference):
    off = {"scale_jitter": 0.0, "weak_from": None, "balanced": False}
    assert_same(batches(source, **off), reference)


@pytest.mark.parametrize(
    ("augmentation", "end"),
    [("ssd", "light"), ("none", "none"), pytest.param("mosaic", "light", marks=pytest.mark.slow)],
)
def test_at_the_end_images_are_changed_little(source, augmentation, end):
    strong = batches(source, augmentation=augmentation, scale_jitter=0.5)
    weak = batches(source, augmentation=end)
    both = batches(source, augmentation=augmentation, scale_jitter=0.5, weak_from=4)
    assert_same(both[:4], strong[:4])
    assert_same(both[4:], weak[4:])
    assert any((a[0] != b[0]).any() for a, b in zip(strong[4:], weak[4:], strict=True))


SOME_OPTIONS = [{"scale_jitter": 0.5}, {"balanced": True}, {"weak_from": 2}]


@pytest.mark.parametrize(
    "options",
    [
        {"scale_jitter": 0.5, "balanced": True, "weak_from": 4},
        *(pytest.param(one, marks=pytest.mark.slow) for one in SOME_OPTIONS),
    ],
)
def test_options_of_recipes_resume(source, options):
    whole = batches(source, **options)
    assert_same(batches(source, first_step=3, steps=3, **options), whole[3:])


@pytest.mark.parametrize("augmentation", ["light", pytest.param("mosaic", marks=pytest.mark.slow)])
def test_without_a_mirror_left_stays_left(tmp_path, augmentation):
    """Each image is red on its left and blue on its right."""
    halves = np.zeros((48, 64, 3), np.uint8)
    halves[:, :32, 0] = halves[:, 32:, 2] = 255
    for number in range(4):
        one = voc_object(box=(10, 5, 50, 40))
        voc_image(tmp_path, f"{number}", one, extension=".png")
        Image.fromarray(halves).save(tmp_path / f"JPEGImages/{number}.png")
    source = data.load_source(f"voc:{tmp_path}")
    options = {"image_size": (64, 64), "batch_size": 4, "steps": 6, "augmentation": augmentation}

    def mirrored(**given):
        found = []
        for images, _ in data.training_batches(source, **options, **given):
            half = 32 if augmentation == "mosaic" else 64
            quarter = np.float32(images)[:, :half, :half]
            bluer = quarter[..., 2] - quarter[..., 0]
            # Where both colours are seen: whether blue lies left of red.
            for one in bluer:
                red, blue = (one < -60).nonzero()[1], (one > 60).nonzero()[1]
                if len(red) > 20 and len(blue) > 20:
                    found.append(blue.mean() < red.mean())
        return found

    assert 0 < np.mean(mirrored()) < 1
    never = mirrored(mirror=False)
    assert len(never) > 5
    assert not any(never)
