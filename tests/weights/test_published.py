"""Detectors by the names of published weights, from a server on this machine."""

import dataclasses
import hashlib
import io
import multiprocessing
import tarfile
import threading
import time

import numpy as np
import pytest

import ssd_keras
import tests.tiny
from ssd_keras import locks
from ssd_keras.errors import UserError
from ssd_keras.run_folder import RunFolder
from ssd_keras.weights import catalogue, fetching, import_detector, published
from ssd_keras.weights.catalogue import Entry, Remote
from ssd_keras.weights.imported import Imported
from tests.weights import api_graphs
from tests.weights.publisher import Publisher

LABELS = {1: "person", 2: "dog", 3: "forklift"}
MEMBER = "tiny_2018/frozen_inference_graph.pb"


def archive(contents: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def remote(address, content, name):
    return Remote(f"{address}/{name}", name, len(content), hashlib.sha256(content).hexdigest())


@dataclasses.dataclass
class Published:
    """A tiny detector, what serves it, and its row in the table."""

    graph: bytes
    publisher: Publisher
    entry: Entry
    folder: object


@pytest.fixture(scope="module")
def graph():
    return api_graphs.mobilenet_v1()


@pytest.fixture
def tiny(tmp_path, monkeypatch, graph):
    """The table has one detector, of this machine."""
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0)
    monkeypatch.setenv(fetching.CACHE, str(tmp_path / "cache"))
    monkeypatch.delenv(fetching.MIRROR, raising=False)
    monkeypatch.setitem(catalogue.CLASS_LISTS, "tiny", LABELS)
    packed = archive({"tiny_2018/README": b"x" * 1000, MEMBER: graph})
    publisher = Publisher(packed)
    with publisher.open() as address:
        entry = Entry(
            name="tiny_coco",
            architecture="SSD_MobileNet_128",
            classes="tiny",
            file=remote(address, packed, "tiny_2018.tar.gz"),
            members=(MEMBER,),
            inside=remote(address, graph, "frozen_inference_graph.pb"),
            licence="Apache-2.0",
            origin="the tests",
            accuracy="",
            measured_on="",
            input="128x128",
        )
        monkeypatch.setattr(catalogue, "entries", lambda: (entry,))
        yield Published(graph, publisher, entry, tmp_path / "cache" / "tiny_coco")


@pytest.fixture
def offline(tiny, monkeypatch):
    """The table has one detector, of an address where nobody answers."""
    file = dataclasses.replace(tiny.entry.file, address="http://127.0.0.1:9/tiny_2018.tar.gz")
    entry = dataclasses.replace(tiny.entry, file=file)
    monkeypatch.setattr(catalogue, "entries", lambda: (entry,))
    return tiny


@dataclasses.dataclass
class Importer:
    """Stands for `import_detector`, which takes seconds: remembers the bytes that it is given."""

    seen: list = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def __call__(self, source, *, prototxt=None, labels=None):
        files = [path for path in (source, prototxt) if path is not None]
        self.seen.append(([path.read_bytes() for path in files], labels))
        time.sleep(self.seconds)
        config = tests.tiny.detector(list(labels.values())).get_config()
        detector = ssd_keras.Detector.from_config({**config, "name": "SSD_MobileNet_128"})
        return Imported(detector, "the tests", {}, (), (), {})


@pytest.fixture
def importer(monkeypatch):
    quick = Importer()
    monkeypatch.setattr(published, "import_detector", quick)
    return quick


def predictions(detector):
    images = np.random.default_rng(0).uniform(0, 255, (1, 128, 128, 3)).astype("f4")
    return {key: np.asarray(value) for key, value in detector(images).items()}


@pytest.mark.slow
def test_a_name_loads_what_an_import_gives_and_is_fetched_and_imported_once(
    tiny, tmp_path, capsys, monkeypatch
):
    detector = ssd_keras.load("tiny_coco")
    said = capsys.readouterr()
    assert said.out == ""
    assert "Fetching 'tiny_coco' (" in said.err
    assert f"MB, Apache-2.0, the tests) from {tiny.entry.file.address}" in said.err
    (tmp_path / "x.pb").write_bytes(tiny.graph)
    expected = import_detector(tmp_path / "x.pb", labels=LABELS)
    assert detector.classes == ("person", "dog", "forklift")
    assert detector.suppression.as_dict() == expected.detector.suppression.as_dict()
    for key, value in predictions(expected.detector).items():
        np.testing.assert_array_equal(predictions(detector)[key], value)
    monkeypatch.setattr(published, "import_detector", None)
    new = ssd_keras.create("SSD_MobileNet_128", list(LABELS.values()), weights="tiny_coco")
    for ours, theirs in zip(new.get_weights(), detector.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert capsys.readouterr().err == ""
    assert tiny.publisher.asked == [None]
    kept = {"tiny_2018.tar.gz", f"tiny_coco-{published._version()}.keras", "import_report.txt"}
    assert {file.name for file in tiny.folder.iterdir()} - {locks.NAME} == kept


@pytest.mark.parametrize("place", ["the cache", "the mirror"])
@pytest.mark.parametrize("what", ["the archive", "the file in it"])
def test_without_a_network_what_is_to_be_put_where_is_said_and_works(
    offline, importer, monkeypatch, tmp_path, what, place
):
    with pytest.raises(UserError) as caught:
        ssd_keras.load("tiny_coco")
    assert str(caught.value) == (
        "http://127.0.0.1:9/tiny_2018.tar.gz cannot be reached (Connection refused). To do "
        "without a network, put 'tiny_2018.tar.gz' of http://127.0.0.1:9/tiny_2018.tar.gz, or its "
        f"'frozen_inference_graph.pb' alone, into '{offline.folder}'."
    )
    folder = offline.folder
    if place == "the mirror":
        monkeypatch.setenv(fetching.MIRROR, str(tmp_path / "mirror"))
        folder = tmp_path / "mirror" / ("tiny_coco" if what == "the file in it" else "")
        folder.mkdir(parents=True)
    name = "tiny_2018.tar.gz" if what == "the archive" else "frozen_inference_graph.pb"
    content = offline.publisher.content if what == "the archive" else offline.graph
    (folder / name).write_bytes(content)
    assert ssd_keras.load("tiny_coco").name == "SSD_MobileNet_128"
    assert importer.seen == [([offline.graph], LABELS)]
    assert (folder / name).read_bytes() == content


@pytest.mark.parametrize(
    "place",
    [
        "cache/tiny_coco/tiny_2018.tar.gz",
        "cache/tiny_coco/frozen_inference_graph.pb",
        f"cache/tiny_coco/tiny_coco-{published._version()}.keras",
        "mirror/tiny_2018.tar.gz",
        "mirror/tiny_coco/frozen_inference_graph.pb",
    ],
)
def test_what_need_not_be_fetched_is_known_without_asking_anybody(
    tiny, monkeypatch, tmp_path, place
):
    monkeypatch.setenv(fetching.MIRROR, str(tmp_path / "mirror"))
    assert not published.is_kept("tiny_coco")
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_bytes(b"")
    assert published.is_kept("tiny_coco")
    assert tiny.publisher.asked == []


@pytest.mark.parametrize("name", ["tiny_2018.tar.gz", "frozen_inference_graph.pb"])
def test_a_wrong_file_in_its_place_is_refused_and_left_there(offline, name):
    offline.folder.mkdir(parents=True)
    (offline.folder / name).write_bytes(b"something else")
    with pytest.raises(UserError, match=rf"{name}' is not the file that was published: it has 14"):
        ssd_keras.load("tiny_coco")
    assert (offline.folder / name).read_bytes() == b"something else"


def test_another_architecture_in_the_file_is_refused(tiny, importer, monkeypatch):
    del importer
    other = dataclasses.replace(tiny.entry, architecture="SSD_MobileNetV2_300")
    monkeypatch.setattr(catalogue, "entries", lambda: (other,))
    with pytest.raises(UserError, match="should be SSD_MobileNetV2_300, but its file holds SSD_Mo"):
        ssd_keras.load("tiny_coco")
    assert not list(tiny.folder.glob("*.keras"))
    assert not list(tiny.folder.glob(".partial*"))


def test_an_archive_of_two_files_is_imported_with_both(tiny, importer, monkeypatch):
    packed = archive({"a/d.prototxt": b"the network", "a/x": b"", "a/w.caffemodel": b"weights"})
    with Publisher(packed).open() as address:
        members = ("a/w.caffemodel", "a/d.prototxt")
        file = remote(address, packed, "caffe.tar.gz")
        entry = dataclasses.replace(tiny.entry, file=file, members=members, inside=None)
        monkeypatch.setattr(catalogue, "entries", lambda: (entry,))
        assert ssd_keras.load("tiny_coco").classes == tuple(LABELS.values())
    assert importer.seen == [([b"weights", b"the network"], LABELS)]


@pytest.mark.parametrize("placed", [False, True])
def test_a_first_file_that_is_none_is_not_remembered(tiny, importer, monkeypatch, placed):
    """Its checksum is not known, and a page to sign in came in its place."""
    del importer
    monkeypatch.setattr(fetching, "SECURE", ("http",))
    unknown = dataclasses.replace(tiny.entry.file, size=None, sha256="")
    entry = dataclasses.replace(tiny.entry, file=unknown, inside=None)
    monkeypatch.setattr(catalogue, "entries", lambda: (entry,))
    good, tiny.publisher.content = tiny.publisher.content, b"<html>Sign in</html>"
    place = tiny.folder / entry.file.name
    if placed:
        tiny.folder.mkdir(parents=True)
        place.write_bytes(tiny.publisher.content)
    with pytest.raises(UserError, match="cannot be read as an archive"):
        ssd_keras.load("tiny_coco")
    assert not place.with_name(f"{place.name}.sha256").exists()
    # What the user has put there stays.
    assert place.exists() == placed
    place.unlink(missing_ok=True)
    tiny.publisher.content = good
    assert ssd_keras.load("tiny_coco").name == "SSD_MobileNet_128"
    assert place.with_name(f"{place.name}.sha256").exists()


def test_a_cache_that_cannot_be_unpacked_into_is_named(tiny, importer, monkeypatch):
    del importer

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(published.tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(
        UserError, match=r"tiny_coco' cannot be written: .* Let SSD_KERAS_CACHE name"
    ):
        ssd_keras.load("tiny_coco")


def test_what_lies_on_the_disk_goes_before_a_name_of_the_table(tiny, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    RunFolder("tiny_coco").path.mkdir()
    with pytest.raises(UserError, match="Run folder 'tiny_coco' holds no trained detector"):
        ssd_keras.load("tiny_coco")
    assert tiny.publisher.asked == []


def test_a_name_that_is_none_is_answered_with_those_that_are_like_it(tiny):
    with pytest.raises(UserError, match=r"file 'tiny_cocoa', nor published .*mean 'tiny_coco'"):
        ssd_keras.load("tiny_cocoa")
    assert tiny.publisher.asked == []


def test_an_exported_file_is_no_detector_and_what_takes_it_is_named(tmp_path):
    place = tmp_path / "pets.tflite"
    place.write_bytes(b"TFL3")
    with pytest.raises(UserError, match=r"pets\.tflite' is an exported file.*export-report"):
        ssd_keras.load(place)


def test_a_damaged_import_says_what_to_remove(tiny, importer):
    del importer
    ssd_keras.load("tiny_coco")
    (place,) = tiny.folder.glob("*.keras")
    place.write_bytes(place.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"\.keras' cannot be read .* Remove it: the same command"):
        ssd_keras.load("tiny_coco")
    place.unlink()
    assert ssd_keras.load("tiny_coco").name == "SSD_MobileNet_128"


def test_what_a_killed_process_had_unpacked_is_removed(tiny, importer):
    del importer
    left = tiny.folder / ".partial-abc"
    left.mkdir(parents=True)
    (left / "frozen_inference_graph.pb").write_bytes(b"half")
    published.published_file(tiny.entry)
    assert not left.exists()


def test_two_at_once_fetch_and_import_once(tiny, importer, capsys):
    importer.seconds = 0.5
    places = []
    threads = [
        threading.Thread(target=lambda: places.append(published.published_file(tiny.entry)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(importer.seen) == 1
    assert tiny.publisher.asked == [None]
    assert places[0] == places[1]
    assert "Waiting for process" in capsys.readouterr().err


def hold(folder, ready):
    with locks.lock(folder, "wait"):
        ready.set()
        time.sleep(60)


def test_a_process_that_waits_for_a_killed_one_goes_on(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    other = context.Process(target=hold, args=(tmp_path, ready), daemon=True)
    other.start()
    assert ready.wait(30)
    told = []

    def tell(holder):
        told.append(holder)
        other.kill()

    with locks.waiting(tmp_path, tell):
        pass
    other.join()
    assert told == [f"process {other.pid} on '{locks.socket.gethostname()}'"]


def test_results_go_beside_the_detector_or_to_a_folder_of_its_name(tiny, tmp_path):
    del tiny
    file = tmp_path / "best.keras"
    file.write_bytes(b"")
    assert published.results_folder(tmp_path, "exports") == tmp_path
    assert published.results_folder(str(file), "exports") == tmp_path
    assert str(published.results_folder("tiny_coco", "exports")) == "tiny_coco_exports"
    assert str(published.results_folder("gs://bucket/run.v2", "exports")) == "run.v2_exports"
    assert str(published.results_folder("gs://bucket/a/best.keras", "exports")) == "best_exports"
