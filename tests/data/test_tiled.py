"""Any source seen through tiles."""

import collections
import functools
import threading

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.data import tfrecord
from ssd_keras.data.pipeline import batch_indices, training_batches
from ssd_keras.data.source import GroundTruth, Source
from ssd_keras.data.tiled import TiledSource
from ssd_keras.errors import UserError

TILING = Tiling(height=64, width=64, overlap=0.25)


class Large(Source):
    """Images whose pixels tell where they are, and how often each was decoded."""

    def __init__(self, sizes, boxes, **flags):
        truth = []
        for number, ((height, width), found) in enumerate(zip(sizes, boxes, strict=True)):
            shares = np.array(found, float).reshape(-1, 4) / np.tile([height, width], 2)
            marks = {name: values[number] for name, values in flags.items()}
            truth.append(
                GroundTruth(f"i{number}", height, width, shares, [0] * len(shares), **marks)
            )
        super().__init__("large", ("a", "b"), truth)
        self.decoded = collections.Counter()
        self.lock = threading.Lock()

    def image(self, index):
        with self.lock:
            self.decoded[index] += 1
        one = self.ground_truth()[index]
        rows, columns = np.mgrid[: one.height, : one.width]
        return np.stack([rows, columns, np.full_like(rows, index)], -1).astype(np.uint8)


def pixels(one):
    return np.round(one.boxes * np.tile([one.height, one.width], 2)).astype(int).tolist()


def tiled(boxes, size=(64, 112), tiling=TILING, **options):
    return TiledSource(Large([size], [boxes]), tiling, **({"empty_tiles": 1.0} | options))


@pytest.mark.parametrize(
    ("box", "left", "right"),
    [
        ([0, 0, 20, 20], [(0, 0, 20, 20, False)], []),
        # In the overlap: taught by both.
        ([0, 50, 9, 60], [(0, 50, 9, 60, False)], [(0, 2, 9, 12, False)]),
        # 60 % and 90 %.
        ([0, 54, 9, 74], [(0, 54, 9, 64, False)], [(0, 6, 9, 26, False)]),
        # 20 % of it are ignored where they are seen.
        ([0, 60, 9, 80], [(0, 60, 9, 64, True)], [(0, 12, 9, 32, False)]),
        # Of 100 neither sees half; the one that sees most teaches it.
        ([0, 0, 9, 112], [(0, 0, 9, 64, False)], [(0, 0, 9, 64, False)]),
    ],
)
def test_what_each_tile_teaches(box, left, right):
    found = tiled([box]).ground_truth()
    assert [one.image_id for one in found] == ["i0_0_0", "i0_0_48"]
    for one, wanted in zip(found, (left, right), strict=True):
        seen = [(*where, bool(mark)) for where, mark in zip(pixels(one), one.ignored, strict=True)]
        assert seen == wanted


def test_what_neither_tile_shows_enough_of_is_taught_by_one():
    found = tiled([[0, 20, 9, 110]], min_visible=0.9).ground_truth()
    assert [one.ignored.tolist() for one in found] == [[True], [False]]
    assert [one.is_object.tolist() for one in found] == [[False], [True]]


def test_marks_and_areas_stay():
    source = Large([(64, 112)], [[[0, 60, 9, 80], [0, 0, 9, 9]]], crowd=[[True, False]],
                   difficult=[[False, True]], area=[[100.0, np.nan]])  # fmt: skip
    first, second = TiledSource(source, TILING, empty_tiles=1.0).ground_truth()
    assert (first.crowd.tolist(), first.ignored.tolist()) == ([True, False], [False, False])
    assert (first.difficult.tolist(), second.difficult.tolist()) == ([False, True], [False])
    np.testing.assert_allclose(first.area, [20.0, np.nan], rtol=1e-5)


def test_tiles_are_cut_out_of_the_image_which_is_decoded_once():
    large = Large([(100, 150), (64, 64)], [[[0, 0, 9, 9]], [[1, 1, 9, 9]]])
    source = TiledSource(large, TILING, empty_tiles=1.0)
    assert len(source) == 2 * 3 + 1
    assert source.groups.tolist() == [0] * 6 + [1]
    for index, (top, left) in enumerate([(0, 0), (0, 48), (0, 86), (36, 0), (36, 48), (36, 86)]):
        image = source.image(index)
        assert image.shape == (64, 64, 3)
        assert image[0, 0].tolist() == [top, left, 0]
    assert large.decoded == {0: 1}
    np.testing.assert_array_equal(source.image(6), large.image(1))
    assert source.ground_truth()[6] is large.ground_truth()[1]


def test_tiles_of_an_image_of_another_scale_than_is_stated():
    """Twice as large as its annotations say, by which its tiles are laid."""
    large = Large([(100, 150)], [[[0, 0, 9, 9]]])
    source = TiledSource(large, TILING, empty_tiles=1.0)
    large.image = lambda index: np.repeat(np.repeat(Large.image(large, index), 2, 0), 2, 1)
    for index, (top, left) in enumerate([(0, 0), (0, 48), (0, 86), (36, 0), (36, 48), (36, 86)]):
        image = source.image(index)
        assert image.shape == (128, 128, 3)
        assert image[::2, ::2][0, 0].tolist() == [top, left, 0]
        assert image[::2, ::2][-1, -1].tolist() == [top + 63, left + 63, 0]


def test_threads_share_what_is_decoded():
    large = Large([(100, 150)], [[[0, 0, 9, 9]]])
    source = TiledSource(large, TILING, empty_tiles=1.0)
    threads = [threading.Thread(target=source.image, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert large.decoded == {0: 1}


def test_images_are_forgotten_when_they_are_too_many(monkeypatch):
    monkeypatch.setattr("ssd_keras.data.tiled.KEPT_BYTES", 2 * 3 * 100 * 150)
    large = Large([(100, 150)] * 3, [[[0, 0, 9, 9]]] * 3)
    source = TiledSource(large, TILING, empty_tiles=1.0)
    for index in (0, 6, 12, 7, 13, 1):
        source.image(index)
    assert large.decoded == {0: 2, 1: 1, 2: 1}


@pytest.mark.parametrize(("share", "kept"), [(0.0, 2), (0.5, 4), (0.75, 6), (1.0, 6)])
def test_the_share_of_empty_tiles(share, kept):
    source = Large([(100, 150)], [[[0, 0, 9, 9], [90, 140, 99, 149]]])
    found = [TiledSource(source, TILING, empty_tiles=share, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert {len(one) for one in found} == {kept}
    assert {one.dropped for one in found} == {6 - kept}
    ids = [[truth.image_id for truth in one.ground_truth()] for one in found]
    assert ids[0] == ids[1] == sorted(ids[0])
    assert (len({tuple(one) for one in ids}) > 1) == (kept == 4)
    assert {"i0_0_0", "i0_36_86"} <= set(ids[0])


def test_the_whole_image_is_one_more_tile():
    whole = Tiling(height=64, width=64, overlap=0.25, whole=True)
    source = tiled([[0, 60, 9, 80]], tiling=whole)
    *_, last = source.ground_truth()
    assert (last.image_id, last.height, last.width) == ("i0_whole", 64, 112)
    assert pixels(last) == [[0, 60, 9, 80]]
    assert not last.ignored.any()
    assert source.image(2).shape == (64, 112, 3)


@pytest.mark.parametrize("values", [{"min_visible": 2}, {"empty_tiles": -0.1}])
def test_shares_that_are_none_are_refused(values):
    with pytest.raises(UserError, match=f"{next(iter(values))} must be in 0..1"):
        tiled([[0, 0, 9, 9]], **values)


def large_set():
    rng = np.random.default_rng(0)
    boxes = []
    for _ in range(4):
        low = rng.uniform(0, 110, (12, 2))
        boxes.append(np.concatenate([low, low + rng.uniform(8, 30, (12, 2))], 1).clip(0, 140))
    return Large([(140, 140)] * 4, boxes)


@functools.cache
def large_tiles():
    return TiledSource(large_set(), TILING)


def batches(first, steps, **options):
    chosen = {"image_size": (32, 32), "batch_size": 4, "augmentation": "light", "seed": 3}
    found = training_batches(large_tiles(), first_step=first, steps=steps, **(chosen | options))
    return [(images.numpy(), {k: v.numpy() for k, v in truth.items()}) for images, truth in found]


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_training_goes_on_to_the_bit_and_decodes_once_for_a_batch_of_tiles(cache_bytes):
    whole, rest = batches(0, 6, cache_bytes=cache_bytes), batches(4, 2, cache_bytes=0)
    for (images, truth), (again, same) in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(images, again)
        for name in truth:
            np.testing.assert_array_equal(truth[name], same[name])
    source = TiledSource(large_set(), TILING)
    for step in range(6):
        images = source.groups[batch_indices(source, step, batch_size=8, seed=3)]
        assert np.count_nonzero(np.diff(images)) <= 3


def test_ignored_regions_reach_the_batch():
    source = TiledSource(large_set(), TILING)
    most = max(int(one.ignored.sum()) for one in source.ground_truth())
    for images, truth in batches(0, 3, augmentation="none"):
        assert truth["ignored"].shape == (4, most, 4)
        assert (truth["labels"] >= -1).all()
        assert images.shape == (4, 32, 32, 3)
    indices = batch_indices(source, 0, batch_size=4, seed=3)
    _, truth = batches(0, 1, augmentation="none")[0]
    for slot, index in enumerate(indices):
        one = source.ground_truth()[index]
        count = int(one.ignored.sum())
        np.testing.assert_allclose(
            truth["ignored"][slot, :count], one.boxes[one.ignored], atol=1e-6
        )
        assert (truth["ignored"][slot, count:] == -1).all()
        assert (truth["labels"][slot] >= 0).sum() == one.is_object.sum()


def test_sources_without_tiles_give_what_they_gave():
    source = data.load_source("shapes#train,count=8,size=40")
    plain = {"image_size": (32, 32), "batch_size": 4, "augmentation": "none"}
    (_, truth), *_ = training_batches(source, steps=1, **plain)
    assert set(truth) == {"boxes", "labels"}


def test_tiles_can_be_packed(tmp_path):
    source = TiledSource(large_set(), TILING)
    tfrecord.write(source, str(tmp_path / "tiles"), shards=2)
    packed = data.load_source(f"tfrecord:{tmp_path}/tiles-*")
    by_id = {one.image_id: number for number, one in enumerate(packed.ground_truth())}
    assert len(by_id) == len(source)
    for index, one in enumerate(source.ground_truth()):
        number = by_id[one.image_id]
        found = packed.ground_truth()[number]
        np.testing.assert_allclose(found.boxes, one.boxes, atol=1e-6)
        np.testing.assert_array_equal(found.ignored, one.ignored)
        np.testing.assert_array_equal(packed.image(number), source.image(index))
