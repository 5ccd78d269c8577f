"""Large images are looked at tile by tile; those of one tile as ever."""

import numpy as np
import pytest
from PIL import Image

import ssd_keras
from ssd_keras import data, tiled_detection
from ssd_keras.boxes import Suppression
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.data.decoded import ArrayPicture, open_decoded
from ssd_keras.detections import Detections
from ssd_keras.errors import UserError
from ssd_keras.evaluation import detect_source
from ssd_keras.resizing import WAYS, resize
from ssd_keras.tiled_detection import crop_tile, detect_tiled, open_pictures, tiling_for
from tests import tiny
from tests.comparing import assert_same_detections
from tests.deploy.conftest import lively_detector, pictures

TILE, LEVELS = 64, 60


class FindsColours:
    """Right on every tile: each grey level of 1..59 is an object, its class the level modulo 3."""

    image_size, resize, suppression, tiling = (TILE, TILE), "half_pixel", Suppression(), None

    def __init__(self):
        self.shapes = []

    def detect_batches(self, batches, **_):
        for images in batches:
            self.shapes.append(images.shape)
            for image in images:
                yield self.found(np.round(image[..., 0]).astype(int))

    def found(self, grey):
        boxes, labels = [], []
        for level in np.unique(grey[(grey > 0) & (grey < LEVELS)]):
            rows, columns = np.nonzero(grey == level)
            low, high = (rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)
            boxes.append(np.array([*low, *high]) / np.tile(self.image_size, 2))
            labels.append(level % 3)
        return Detections(boxes, np.full(len(boxes), 0.9), labels, ("a", "b", "c"))

    def in_image(self, found, size, path=None):
        return found.of_image(size, path)


def drawn(size, seed=0):
    """An image of separate rectangles, each in a grey level of its own, and their boxes."""
    rng = np.random.default_rng(seed)
    image, boxes = np.zeros((*size, 3), np.uint8), []
    for level in range(1, LEVELS):
        height, width = rng.integers(3, 40, 2)
        top, left = rng.integers(0, size[0] - height), rng.integers(0, size[1] - width)
        if not image[top : top + height, left : left + width].any():
            image[top : top + height, left : left + width] = level
            boxes.append([top, left, top + height, left + width])
    return image, np.array(boxes)


def tiling(**values) -> Tiling:
    return Tiling(**({"height": TILE, "width": TILE, "overlap": 0.25} | values))


def detected(image, rule, detector=None, **options):
    several = image if isinstance(image, list) else [image]
    given = [(ArrayPicture(one), None) for one in several]
    return list(detect_tiled(detector or FindsColours(), given, rule, **options))


@pytest.mark.parametrize("seed", range(3))
def test_all_that_is_drawn_is_found_once(seed):
    image, boxes = drawn((333, 287), seed)
    (found,) = detected(image, tiling())
    assert found.image_size == (333, 287)
    assert sorted(map(tuple, np.round(found.pixels()).astype(int))) == sorted(map(tuple, boxes))


@pytest.mark.parametrize(
    ("size", "canvas", "way"),
    [
        ((48, 80), (48, 80), "half_pixel"),
        ((48, 80), (80, 80), "letterbox"),
        ((80, 48), (96, 48), "letterbox"),
    ],
)
@pytest.mark.parametrize("overlap", [0.25, 0.75])
def test_tiles_and_inputs_are_of_any_shape(size, canvas, way, overlap):
    detector = FindsColours()
    detector.image_size, detector.resize = canvas, way
    image, boxes = drawn((170, 230), 4)
    rule = tiling(height=size[0], width=size[1], overlap=overlap)
    (found,) = detected(image, rule, detector)
    assert sorted(map(tuple, np.round(found.pixels()).astype(int))) == sorted(map(tuple, boxes))


def test_batches_are_of_tiles_and_not_larger_than_asked_for():
    detector = FindsColours()
    images = [drawn((100, 140), 1)[0], drawn((64, 50), 2)[0], drawn((70, 64), 3)[0]]
    told = []
    found = detected(images, tiling(), detector, batch_size=4, progress=lambda *at: told.append(at))
    assert [one.image_size for one in found] == [(100, 140), (64, 50), (70, 64)]
    assert [shape[0] for shape in detector.shapes] == [4, 4, 1]
    assert told == [(n, 6) for n in range(1, 7)] + [(1, 1), (1, 2), (2, 2)]


def test_nothing_but_a_batch_is_held():
    """The tiles of a large image come one after the other."""

    class Watched(ArrayPicture):
        held, most = 0, 0

        def window(self, tile):
            Watched.held += 1
            Watched.most = max(Watched.most, Watched.held)
            return super().window(tile)

    class Counts(FindsColours):
        def found(self, grey):
            Watched.held -= 1
            return super().found(grey)

    picture = Watched(np.zeros((1000, 1000, 3), np.uint8))
    list(detect_tiled(Counts(), [(picture, None)], tiling(), batch_size=4))
    assert Watched.most == 4


@pytest.fixture(scope="module")
def detector():
    return lively_detector()


@pytest.mark.parametrize("tiles", [500, Tiling(height=500, width=400, whole=True), "160x170"])
def test_an_image_of_one_tile_is_looked_at_as_ever(detector, tiles):
    image = pictures(1)[0]
    wanted, found = (detector.detect(image, tiles=t, score_threshold=0.3) for t in (None, tiles))
    assert len(wanted) > 5
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_the_tiling_is_saved_with_the_detector(tmp_path):
    detector = tiny.detector()
    assert "tiling" not in detector.get_config()
    config = {**detector.get_config(), "tiling": tiling(overlap=0.5).as_dict()}
    tiled = ssd_keras.Detector.from_config(config)
    tiled.save(tmp_path / "a.keras")
    assert ssd_keras.load(tmp_path / "a.keras").tiling == tiling(overlap=0.5)


class Memory(data.Source):
    """Images that are there; None for one that cannot be read."""

    def __init__(self, images):
        self.images = images
        truth = [
            data.GroundTruth(str(n), 100, 140, np.zeros((0, 4)), []) for n in range(len(images))
        ]
        super().__init__("memory", ("a", "b", "c"), truth)

    def image(self, index):
        if self.images[index] is None:
            raise data.ImageError(str(index), "is not there")
        return self.images[index]


def test_a_source_is_detected_in_tile_by_tile():
    images = [drawn((100, 140), 1)[0], None, drawn((100, 140), 2)[0]]
    detector = FindsColours()
    detector.tiling = tiling()
    found = detect_source(detector, Memory(images), progress=False)
    for image, one in zip(images, found, strict=True):
        if image is None:
            assert one is None
            continue
        (wanted,) = detected(image, tiling())
        assert len(wanted) > 5
        assert_same_detections(one, wanted, box_atol=0, score_atol=0)
    with pytest.raises(UserError, match="could not be read"):
        detect_source(detector, Memory([None]), progress=False)


@pytest.mark.parametrize(
    ("own", "asked", "wanted"),
    [
        (None, None, None),
        (None, False, None),
        (None, "none", None),
        (None, "auto", Tiling(height=TILE, width=TILE)),
        (None, 128, Tiling(height=128, width=128)),
        (tiling(), None, tiling()),
        (tiling(), False, None),
        (tiling(), "auto", tiling()),
        (tiling(overlap=0.5), "128x256", Tiling(height=128, width=256, overlap=0.5)),
        (tiling(overlap=0.5), tiling(), tiling()),
    ],
)
def test_what_is_asked_for_goes_before_the_detectors_own(own, asked, wanted):
    detector = FindsColours()
    detector.tiling = own
    assert tiling_for(detector, asked) == wanted


@pytest.mark.parametrize(
    ("value", "fault"),
    [("big", "512 or 384x640"), ({"height": 64, "widht": 64}, "Did you mean 'width'"), ({}, None)],
)
def test_what_is_no_tiling_is_refused(value, fault):
    with pytest.raises(UserError, match=fault):
        Tiling.of(value)


# === Images larger than memory ===


@pytest.fixture
def small_limit():
    before = data.max_megapixels()
    data.set_max_megapixels(0.01)
    yield
    data.set_max_megapixels(before)


def geotiff(path, image, **options):
    rasterio = pytest.importorskip("rasterio")
    profile = {"driver": "GTiff", "height": image.shape[0], "width": image.shape[1],
               "count": image.shape[2], "dtype": image.dtype} | options  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.moveaxis(image, -1, 0))
    return str(path)


NO_PLACE = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
BLOCKS = {"tiled": True, "blockxsize": 64, "blockysize": 64, "photometric": "RGB"}


@NO_PLACE
def test_a_large_tiff_is_read_by_windows(tmp_path, small_limit):
    image, boxes = drawn((333, 287))
    path = geotiff(tmp_path / "large.tif", image, **BLOCKS)
    (found,) = detect_tiled(FindsColours(), open_pictures(path), tiling())
    assert found.image_path == path
    assert sorted(map(tuple, np.round(found.pixels()).astype(int))) == sorted(map(tuple, boxes))


def opened(path):
    """All pixels of a large file, by windows, as far as it can be read."""
    for picture, _ in open_pictures(path):
        height, width = picture.size
        parts = [picture.window((top, 0, top + 50, width)) for top in range(0, height, 50)]
        return np.concatenate(parts)


def grey_bands(count, dtype=np.uint8):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (200, 200, count)).astype(dtype)


@NO_PLACE
@pytest.mark.parametrize(
    ("bands", "options"),
    [
        (3, BLOCKS),
        (1, {}),
        (4, BLOCKS | {"alpha": "unspecified"}),
        (4, BLOCKS | {"alpha": "yes"}),
        (3, BLOCKS | {"nodata": 7}),
        (3, BLOCKS | {"compress": "deflate", "interleave": "band"}),
        (3, {"photometric": "RGB"}),
        (4, {"photometric": "CMYK"}),
    ],
)
def test_windows_show_what_is_read_as_a_whole(tmp_path, bands, options):
    """Further bands are not looked at, alpha is laid on white, "no data" is as it is stored."""
    path = geotiff(tmp_path / "large.tif", grey_bands(bands), **options)
    whole = data.images.read_image(path)
    before = data.max_megapixels()
    data.set_max_megapixels(0.01)
    try:
        # Of CMYK, GDAL and Pillow round differently.
        most = int("CMYK" in options.values())
        assert np.abs(opened(path).astype(int) - whole).max() <= most
    finally:
        data.set_max_megapixels(before)


@NO_PLACE
@pytest.mark.parametrize(
    ("image", "options", "fault"),
    [
        (grey_bands(3, np.uint16), BLOCKS, "3 bands of uint16"),
        (grey_bands(1, np.float32), {}, "1 bands of float32"),
        # The second is Pillow's word, as long as it doesn't read grey with alpha itself.
        (grey_bands(2), {}, "2 bands of uint8|unknown pixel mode"),
        (grey_bands(1) // 128, {"nbits": 1}, "palette"),
        (grey_bands(1) // 16, {"nbits": 4}, "1 bands of uint8"),
        (grey_bands(1), {"photometric": "MINISWHITE"}, "undefined"),
        (grey_bands(1), {"photometric": "palette"}, "palette"),
        (grey_bands(1), {"tiled": True, "blockxsize": 128, "blockysize": 128}, "blocks of 128x128"),
    ],
)
def test_large_tiffs_that_cannot_be_read_are_refused(tmp_path, small_limit, image, options, fault):
    path = geotiff(tmp_path / "large.tif", image, **options)
    with pytest.raises(UserError, match=fault):
        opened(path)


@NO_PLACE
@pytest.mark.parametrize("share", [0.9, 0.5, 0.02])
def test_a_large_tiff_that_is_cut_off_is_named(tmp_path, small_limit, share):
    path = tmp_path / "large.tif"
    geotiff(path, grey_bands(3), **BLOCKS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"large\.tif: (cannot|is|has|claims)"):
        opened(str(path))


@pytest.mark.parametrize("turn", [1, 3, 6])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_parts_of_a_decoded_image_are_those_of_the_whole(tmp_path, monkeypatch, mode, turn):
    pixels = np.random.default_rng(0).integers(0, 255, (70, 90, 4), dtype=np.uint8)
    image = Image.fromarray(pixels.astype(np.uint16)[..., 0] * 250) if mode == "I;16" else None
    image = image or Image.fromarray(pixels).convert("RGB" if mode == "P" else mode)
    exif = Image.Exif()
    exif[0x0112] = turn
    image.convert(image.mode if mode != "P" else "P").save(tmp_path / "a.png", exif=exif)
    whole, picture = data.images.read_image(tmp_path / "a.png"), open_decoded(tmp_path / "a.png")
    assert picture.size == whole.shape[:2] == ((90, 70) if turn == 6 else (70, 90))
    np.testing.assert_array_equal(picture.window((5, 7, 40, 60)), whole[5:40, 7:60])
    monkeypatch.setattr(tiled_detection, "MOST_PIXELS", 10)
    for way in WAYS:
        wanted = resize(whole[3:60, 5:66], (32, 40), way)
        np.testing.assert_array_equal(crop_tile(picture, (3, 5, 60, 66), (32, 40), way), wanted)


@pytest.mark.parametrize("given", [{"overlap": 0.3}, {"whole": True}])
def test_values_of_tiles_that_there_are_none_of_are_refused(given):
    with pytest.raises(UserError, match=f"The {next(iter(given))} of tiles needs their size"):
        tiling_for(FindsColours(), None, **given)


def test_the_image_that_is_none_is_named_by_its_number():
    with pytest.raises(UserError, match="Image 1: "):
        list(open_pictures([np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9))]))


def test_without_rasterio_it_is_said_how_to_get_it(tmp_path, small_limit, monkeypatch):
    Image.new("RGB", (200, 100)).save(tmp_path / "large.tif")
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(UserError, match=r"0 megapixels \(200x100\).*ssd-keras\[geotiff\]"):
        list(open_pictures(str(tmp_path / "large.tif")))


def test_other_large_files_are_refused_as_ever(tmp_path, small_limit):
    Image.new("RGB", (200, 100)).save(tmp_path / "large.png")
    with pytest.raises(UserError, match="--max_megapixels=1"):
        list(open_pictures(str(tmp_path / "large.png")))
