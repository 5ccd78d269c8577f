"""Records that are read in sequence through a shuffle buffer."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras import data
from ssd_keras.data import evaluation_batches, options, streamed, streamed_batches, tfrecord
from ssd_keras.errors import UserError

COUNT = 12


@pytest.fixture(scope="module")
def drawn():
    return data.load_source(f"shapes#train,count={COUNT},size=32")


@pytest.fixture(scope="module")
def place(drawn, tmp_path_factory):
    prefix = f"ram://{tmp_path_factory.mktemp('set').name}/train"
    tfrecord.write(drawn, prefix, shards=3)
    return prefix


def opened(place, sequential="auto", **given):
    return data.load_source(f"tfrecord:{place}-*,sequential={sequential}", **given)


def batches(source, **options):
    """Images and labels of batches of 4, changed in nothing."""
    options = {"image_size": (32, 32), "batch_size": 4, "augmentation": "none"} | options
    made = data.training_batches(source, **options)
    return [(images.numpy(), truth["labels"].numpy()) for images, truth in made]


def shown(source, found) -> list[int]:
    """Which of the images of a source each of the images of batches is."""
    whole = np.stack([source.image(index) for index in range(len(source))])
    return [
        int(np.flatnonzero((whole == image).all((1, 2, 3)))[0])
        for images, _ in found
        for image in images
    ]


def test_it_is_opened_by_a_few_of_its_records(place, drawn, monkeypatch):
    monkeypatch.setattr(streamed, "SAMPLE", 6)
    read = []
    real = streamed.read_entry
    monkeypatch.setattr(streamed, "read_entry", lambda *a: read.append(a[1]) or real(*a))
    source = opened(place)
    assert sorted(read) == [0, 0, 0, 1, 1, 1]
    assert source.classes == drawn.classes
    assert len(source.sample) == 6
    assert abs(len(source) - COUNT) <= 3
    assert len(opened(place, 1000)) == 1000
    assert data.steps_per_epoch(opened(place, 1000), 32) == 31


def test_an_epoch_has_each_image_once_with_its_objects(place, drawn):
    source = opened(place, COUNT)
    found = batches(source, steps=6)
    order = shown(drawn, found)
    first, second = order[:COUNT], order[COUNT:]
    assert sorted(first) == sorted(second) == list(range(COUNT))
    assert first != second
    for index, labels in zip(order, np.concatenate([labels for _, labels in found]), strict=True):
        expected = drawn.ground_truth()[index].labels
        assert labels[: len(expected)].tolist() == expected.tolist()
        assert (labels[len(expected) :] == -1).all()
    assert not source.unread


def test_the_order_is_that_of_the_seed(place, drawn, monkeypatch):
    orders = {
        seed: shown(drawn, batches(opened(place, COUNT), steps=3, seed=seed)) for seed in (0, 1)
    }
    assert orders[0] != orders[1]
    for seed_of_all in (0, 5):  # as Keras sets it
        tf.random.set_seed(seed_of_all)
        again = shown(drawn, batches(opened(place, COUNT), steps=3, seed=0, parallelism=1))
        assert again == orders[0]
    # The files take turns even where the buffer does nothing.
    monkeypatch.setattr(streamed_batches, "SHUFFLED", 1)
    files = [index % 3 for index in shown(drawn, batches(opened(place, COUNT), steps=3))]
    assert sorted(files[:3]) == sorted(files[3:6]) == [0, 1, 2]


@pytest.mark.parametrize("augmentation", [pytest.param("ssd", marks=pytest.mark.slow), "none"])
def test_it_goes_on_to_the_bit(place, augmentation):
    options = {"augmentation": augmentation, "seed": 5, "scale_jitter": 0.2, "weak_from": 4}
    whole = batches(opened(place, COUNT), steps=7, **options)
    rest = batches(opened(place, COUNT), first_step=2, steps=5, **options)
    for one, other in zip(whole[2:], rest, strict=True):
        for mine, yours in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, yours)


def test_workers_share_the_batches(place):
    whole = batches(opened(place, COUNT), steps=4)
    parts = [batches(opened(place, COUNT), steps=4, shard=(index, 2)) for index in (0, 1)]
    for step, (images, _) in enumerate(whole):
        np.testing.assert_array_equal(images, np.concatenate([part[step][0] for part in parts]))


def test_where_there_are_fewer_than_stated_an_epoch_begins_again(place, drawn):
    order = shown(drawn, batches(opened(place, 16), steps=4))
    assert sorted(order[:COUNT]) == list(range(COUNT))
    assert order[COUNT:] == order[: 16 - COUNT]


def example(encoded: bytes, labels=(1,), names=()) -> bytes:
    """A record as other tools write it."""
    float_list = lambda values: tf.train.Feature(  # noqa: E731
        float_list=tf.train.FloatList(value=values)
    )
    count = max(len(labels), len(names))
    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
        "image/object/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=labels)),
        "image/object/class/text": tf.train.Feature(bytes_list=tf.train.BytesList(value=names)),
    }
    for key, value in (("ymin", 0.1), ("xmin", 0.2), ("ymax", 0.6), ("xmax", 0.9)):
        features[f"image/object/bbox/{key}"] = float_list([value] * count)
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


PNG = tf.io.encode_png(np.full((32, 32, 3), 200, np.uint8)).numpy()


def test_classes_of_numbers_are_named_by_the_label_map(tmp_path):
    write(tmp_path / "set.tfrecord", [example(PNG, [2, 1])] * 4)
    (tmp_path / "set.pbtxt").write_text("item { id: 1 name: 'cat' } item { id: 2 name: 'dog' }")
    source = data.load_source(f"tfrecord:{tmp_path}/set.tfrecord,sequential=4")
    assert source.classes == ("cat", "dog")
    (_, labels), *_ = batches(source, steps=1)
    assert labels[:, :2].tolist() == [[1, 0]] * 4


def test_what_cannot_be_used_is_grey_and_counted(tmp_path, caplog):
    (tmp_path / "set.classes.txt").write_text("cat\n")
    records = [example(PNG)] * 2 + [example(PNG[:60]), b"nothing", example(PNG, [1, 7])]
    write(tmp_path / "set.tfrecord", [example(PNG)] * 3 + records)
    source = data.load_source(f"tfrecord:{tmp_path}/set.tfrecord,sequential=8")
    ((images, labels),) = batches(source, steps=1, batch_size=8)
    grey = [index for index, image in enumerate(images) if image.max() < 200]
    assert len(source.unread) == len(grey) == 2
    assert (labels[grey] == -1).all()
    assert sorted((labels == 0).sum(1).tolist()) == [0, 0, 1, 1, 1, 1, 1, 1]
    assert source.left_out == {
        "broken_record": 1, "undecodable_image": 1, "unknown_class": 1
    }  # fmt: skip
    assert "8 images could not be read" in data.unread_notice(source).replace("2 of ", "")


def test_an_unreadable_record_counts_once_however_often_it_comes(tmp_path, caplog):
    (tmp_path / "set.classes.txt").write_text("cat\n")
    write(tmp_path / "set.tfrecord", [example(PNG)] * 3 + [example(PNG[:60])])
    source = data.load_source(f"tfrecord:{tmp_path}/set.tfrecord,sequential=4")
    grey = [(labels == -1).all(1).sum() for _, labels in batches(source, steps=3, batch_size=4)]
    assert grey == [1, 1, 1]
    assert len(source.unread) == 1


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda source: source.ground_truth(), "is for training alone"),
        (lambda source: source.image(0), "is for training alone"),
        (lambda source: source.encoded(0), "is for training alone"),
        (lambda source: batches(source, balanced=True), "is for training alone"),
        (lambda source: batches(source, augmentation="mosaic"), "is for training alone"),
        (lambda source: tfrecord.write(source, "never"), "is for training alone"),
        (lambda source: evaluation_batches(source), "is for training alone"),
        (lambda source: data.load_source(f"{source.spec}?only=a"), "is for training alone"),
        (lambda source: data.load_source(f"{source.spec}+shapes"), "is for training alone"),
    ],
)
def test_all_else_is_refused_by_name(place, monkeypatch, tmp_path, use, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said):
        use(opened(place, COUNT))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", ["auto", COUNT])
def test_the_same_images_in_any_order_are_had_without_the_option(place, count):
    source = data.load_source(options.in_any_order(opened(place, count).spec))
    assert (len(source), len(source.ground_truth())) == (COUNT, COUNT)


@pytest.mark.parametrize("count", ["", "0", "-3", "many", "1e6", "9" * 40])
def test_a_count_that_is_none_is_refused(place, count):
    with pytest.raises(UserError, match="number of images, or 'auto', not"):
        opened(place, count)


def test_without_a_list_of_classes_it_is_refused(tmp_path):
    write(tmp_path / "set.tfrecord", [example(PNG, [], [b"cat"])])
    spec = f"tfrecord:{tmp_path}/set.tfrecord,sequential=4"
    with pytest.raises(UserError, match="its classes must be known before"):
        data.load_source(spec)
    assert data.load_source(spec, classes=["dog", "cat"]).classes == ("dog", "cat")
