"""Fetching from a server on this machine: every way in which it can go wrong."""

import dataclasses
import hashlib
import random
import resource
import signal
import socket
from pathlib import Path

import pytest

import ssd_keras
from ssd_keras.errors import UserError
from ssd_keras.weights import fetching
from ssd_keras.weights.catalogue import Remote
from tests.weights.publisher import Publisher

CONTENT = random.Random(0).randbytes(1_500_000)
SIZE = len(CONTENT)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ADVICE = "Put it there yourself."


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0)
    monkeypatch.delenv(fetching.MIRROR, raising=False)


def remote(address, *, size=SIZE, sha256=DIGEST):
    return Remote(f"{address}/a/weights.bin", "weights.bin", size, sha256)


def fetch(publisher, folder, **known):
    with publisher.open() as address:
        return fetching.fetch(remote(address, **known), folder, ADVICE)


def test_a_file_comes_whole_under_its_own_name_and_is_not_fetched_again(tmp_path):
    publisher = Publisher(CONTENT)
    with publisher.open() as address:
        for _ in range(2):
            place = fetching.fetch(remote(address), tmp_path, ADVICE)
    assert place == tmp_path / "weights.bin"
    assert place.read_bytes() == CONTENT
    assert publisher.asked == [None]
    assert [file.name for file in tmp_path.iterdir()] == ["weights.bin"]


@pytest.mark.parametrize(
    ("faults", "asked"),
    [
        (["cut"], [None, "bytes=750000-"]),
        (["cut", "cut"], [None, "bytes=750000-", "bytes=1125000-"]),
        (["cut", "whole"], [None, "bytes=750000-"]),
        (["busy"], [None, None]),
        (["chunked"], [None]),
        (["silent"], [None]),
    ],
)
def test_what_a_connection_leaves_out_is_fetched_and_no_more(tmp_path, faults, asked):
    publisher = Publisher(CONTENT, faults)
    assert fetch(publisher, tmp_path).read_bytes() == CONTENT
    assert publisher.asked == asked


def test_a_later_call_goes_on_where_the_last_one_was_cut(tmp_path):
    with pytest.raises(UserError, match=r"cut after 1\.5 of 1\.5 MB .* goes on from there"):
        fetch(Publisher(CONTENT, ["cut"] * fetching.TRIES), tmp_path)
    assert not (tmp_path / "weights.bin").exists()
    there = (tmp_path / "weights.bin.part").stat().st_size
    publisher = Publisher(CONTENT)
    assert fetch(publisher, tmp_path).read_bytes() == CONTENT
    assert publisher.asked == [f"bytes={there}-"]


def test_a_file_that_was_changed_meanwhile_is_fetched_anew(tmp_path):
    with pytest.raises(UserError):
        fetch(Publisher(b"old" * 500_000, ["cut"] * fetching.TRIES, tag='"old"'), tmp_path)
    assert fetch(Publisher(CONTENT, tag='"new"'), tmp_path).read_bytes() == CONTENT


FAULTS = {
    "another file": ([], {"sha256": "0" * 64}, r"gave for 'weights.bin' is not the file .* sha256"),
    "missing": (["missing"], {}, r"/a/weights.bin answered 404 Not Found\. Put it there"),
    "always busy": (["busy"] * 5, {}, r"was cut after 0\.0 of 1\.5 MB \(it answered 503"),
    "longer": ([], {"size": 1_400_000}, r"has 1,500,000 bytes, but 'weights.bin' has 1,400,000"),
    "shorter": ([], {"size": 1_600_000}, r"has 1,500,000 bytes, but 'weights.bin' has 1,600,000"),
    "stated longer": (["long"], {}, r"has 1,501,000 bytes, but 'weights.bin' has 1,500,000"),
    "stated shorter": (["short"], {}, r"has 1,499,000 bytes, but 'weights.bin' has 1,500,000"),
    "without end": (["endless"], {}, r"gives more than the 1,500,000 bytes that the file may have"),
    "another part": (["cut", "shifted"], {}, r"gave another part of the file than it was asked"),
    "no checksum": ([], {"sha256": ""}, r"over https only, because its checksum is not known"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_cannot_be_had_is_one_sentence_and_nothing_has_its_name(tmp_path, name):
    faults, known, message = FAULTS[name]
    with pytest.raises(UserError, match=message) as caught:
        fetch(Publisher(CONTENT, faults), tmp_path, **known)
    assert str(caught.value).endswith(ADVICE)
    assert not (tmp_path / "weights.bin").exists()


def test_another_file_is_removed_so_that_the_next_call_begins_anew(tmp_path):
    with pytest.raises(UserError, match="it was removed"):
        fetch(Publisher(CONTENT[::-1]), tmp_path)
    assert not list(tmp_path.iterdir())
    assert fetch(Publisher(CONTENT), tmp_path).read_bytes() == CONTENT


def test_a_body_of_unknown_length_without_end_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "MAX_FILE_BYTES", 4_000_000)
    with pytest.raises(UserError, match="gives more than the 4,000,000 bytes"):
        fetch(Publisher(CONTENT, ["endless"]), tmp_path, size=None)
    assert (tmp_path / "weights.bin.part").stat().st_size <= 4_000_000


@pytest.mark.parametrize(
    ("elsewhere", "message"),
    [
        ("file:///etc/passwd", "answered 302 .* not allowed"),
        ("ftp://127.0.0.1/weights.bin", "over https only"),
    ],
)
def test_an_address_that_leads_elsewhere_is_not_followed(tmp_path, elsewhere, message):
    with pytest.raises(UserError, match=message):
        fetch(Publisher(CONTENT, ["elsewhere"], elsewhere), tmp_path)
    assert not list(tmp_path.glob("weights.bin*"))


def test_a_safe_address_does_not_lead_to_an_unsafe_one():
    request = fetching.urllib.request.Request("https://publisher/weights.bin")
    redirects = fetching._Redirects(remote("https://publisher"))
    with pytest.raises(UserError, match="which is not safe"):
        redirects.redirect_request(request, None, 302, "", {}, "http://publisher/weights.bin")
    unknown = fetching._Redirects(remote("https://publisher", sha256=""))
    with pytest.raises(UserError, match="https only, because its checksum is not known"):
        unknown.redirect_request(request, None, 302, "", {}, "http://publisher/weights.bin")
    other = redirects.redirect_request(request, None, 302, "", {}, "https://mirror/weights.bin")
    assert other.full_url == "https://mirror/weights.bin"


def test_nobody_answers(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=r"cannot be reached \(Connection refused\)\. Put it"):
            fetching.fetch(remote(address), tmp_path, ADVICE)


@pytest.fixture
def small_files():
    """No file may grow beyond a megabyte, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_named_and_the_next_call_goes_on(tmp_path, request):
    request.getfixturevalue("small_files")
    with pytest.raises(UserError, match=r"weights.bin.part' cannot be written: File too large.*MB"):
        fetch(Publisher(CONTENT), tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    publisher = Publisher(CONTENT)
    assert fetch(publisher, tmp_path).read_bytes() == CONTENT
    assert publisher.asked[0].startswith("bytes=")


# === Checksums that nobody states ===


@pytest.fixture
def trusting(monkeypatch):
    """As if the server on this machine were one of https."""
    monkeypatch.setattr(fetching, "SECURE", ("http",))


def test_a_checksum_that_is_not_known_is_written_down_and_holds_from_then_on(
    tmp_path, trusting, capsys
):
    del trusting
    unknown = {"size": None, "sha256": ""}
    place = fetch(Publisher(CONTENT), tmp_path, **unknown)
    assert f"Its sha256 is {DIGEST}" in capsys.readouterr().err
    assert (tmp_path / "weights.bin.sha256").read_text() == f"{DIGEST}  weights.bin\n"
    place.unlink()
    with pytest.raises(UserError, match=r"weights.bin.sha256' remembers from the first time"):
        fetch(Publisher(CONTENT[::-1]), tmp_path, **unknown)
    assert fetch(Publisher(CONTENT), tmp_path, **unknown).read_bytes() == CONTENT
    place.write_bytes(b"changed")
    with pytest.raises(UserError, match=r"weights.bin' is not the file .* Remove it\. Put it"):
        fetch(Publisher(CONTENT), tmp_path, **unknown)


def test_a_file_of_pytorch_is_the_one_that_its_name_says(tmp_path, trusting):
    del trusting
    for begins, is_it in ((DIGEST[:8], True), ("0123abcd", False)):
        file = Remote("http://publisher", f"x-{begins}.pth")
        (tmp_path / file.name).write_bytes(CONTENT)
        if is_it:
            fetching.check(tmp_path / file.name, file, tmp_path)
            continue
        with pytest.raises(UserError, match=r"not 0123abcd\.\.\. as its name says"):
            fetching.check(tmp_path / file.name, file, tmp_path)
        assert not (tmp_path / f"{file.name}.sha256").exists()


@pytest.mark.parametrize(("tag", "asked"), [('"a-tag"', "bytes=750000-"), ("", None)])
def test_a_part_is_built_upon_only_if_the_server_vouches_for_it(tmp_path, trusting, tag, asked):
    del trusting
    publisher = Publisher(CONTENT, ["cut"], tag=tag)
    place = fetch(publisher, tmp_path, size=None, sha256="")
    assert place.read_bytes() == CONTENT
    assert publisher.asked == [None, asked]


def test_a_file_of_which_nobody_knows_where_it_ends_is_refused(tmp_path, trusting):
    del trusting
    with pytest.raises(UserError, match=r"does not say how long 'weights.bin' is"):
        fetch(Publisher(CONTENT, ["silent"]), tmp_path, size=None, sha256="")
    assert fetch(Publisher(CONTENT, ["chunked"]), tmp_path, size=None, sha256="").exists()


# === Places ===


def test_a_local_folder_stands_for_the_address(tmp_path, monkeypatch):
    folder, cache = tmp_path / "mirror", tmp_path / "cache"
    folder.mkdir()
    cache.mkdir()
    monkeypatch.setenv(fetching.MIRROR, str(folder))
    file = remote("https://publisher")
    with pytest.raises(UserError, match=rf"no 'weights.bin' in '{folder}' \({fetching.MIRROR}\)"):
        fetching.fetch(file, cache, ADVICE)
    (folder / "weights.bin").write_bytes(CONTENT)
    assert fetching.fetch(file, cache, ADVICE) == folder / "weights.bin"
    with pytest.raises(UserError, match="is not the file that was published: its sha256"):
        fetching.fetch(dataclasses.replace(file, sha256="1" * 64), cache, ADVICE)
    assert not list(cache.iterdir())


@pytest.mark.parametrize(
    ("mirror", "message"),
    [
        ("ftp://host/x", "='ftp://host/x' is no local folder nor an address of https or http"),
        ("file:///tmp", "='file:///tmp' is no local folder nor an address"),
        ("~nobody-of-this-name/x", "is no local folder nor an address"),
        ("http://[bad", r"holds no address \(Invalid IPv6 URL\)"),
        ("https://", r"holds no address \(it names no server\)"),
        ("http://two words/x", r"holds no address \(it names no server\)"),
        ("http://host:99999/x", r"holds no address \(Port out of range"),
        ("https://me:secret@host/x", "without password"),
        ("https://host/x?token=secret", "without password"),
    ],
)
def test_a_mirror_that_is_none_is_named_and_no_secret_is_said(monkeypatch, mirror, message):
    monkeypatch.setenv(fetching.MIRROR, mirror)
    with pytest.raises(UserError, match=f"{fetching.MIRROR}.*{message}") as caught:
        fetching.mirror_of(remote("https://publisher"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("mirror", "address"),
    [
        ("HTTPS://host/a/", "https://host/a/weights.bin"),
        ("http://[::1]:80", "http://[::1]:80/weights.bin"),
        ("https://호스트/한 글", "https://xn--9t4b270a0sc/%ED%95%9C%20%EA%B8%80/weights.bin"),
        ("https://host/a%20b", "https://host/a%20b/weights.bin"),
    ],
)
def test_a_mirror_is_asked_for_as_addresses_are_written(monkeypatch, mirror, address):
    monkeypatch.setenv(fetching.MIRROR, mirror)
    assert fetching.mirror_of(remote("https://publisher")) == address


def test_a_mirror_stands_for_the_address(tmp_path, monkeypatch):
    with Publisher(CONTENT).open() as address:
        monkeypatch.setenv(fetching.MIRROR, f"{address}/")
        place = fetching.fetch(remote("https://publisher"), tmp_path, ADVICE)
    assert place.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"SSD_KERAS_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"SSD_KERAS_CACHE": "", "XDG_CACHE_HOME": "/c"}, "/c/ssd-keras"),
        ({"HOME": "/home/me"}, "/home/me/.cache/ssd-keras"),
        ({"SSD_KERAS_CACHE": "~/x", "HOME": "/home/me"}, "/home/me/x"),
    ],
)
def test_the_cache_is_where_a_variable_says(monkeypatch, variables, place):
    for name in ("SSD_KERAS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert fetching.cache_folder() == Path(place)


@pytest.mark.parametrize("place", ["gs://bucket/cache", "~nobody-of-this-name/x"])
def test_a_cache_that_is_no_local_folder_is_named(monkeypatch, place):
    monkeypatch.setenv("SSD_KERAS_CACHE", place)
    with pytest.raises(UserError, match=f"SSD_KERAS_CACHE='{place}' is no local folder"):
        fetching.cache_folder()


def test_a_link_in_the_place_of_a_part_is_not_written_through(tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "weights.bin.part").symlink_to(precious)
    assert fetch(Publisher(CONTENT), folder).read_bytes() == CONTENT
    assert precious.read_bytes() == b"precious"


def test_a_folder_that_cannot_be_written_is_named_before_anything_comes(tmp_path):
    (tmp_path / "weights.bin.part").mkdir()
    publisher = Publisher(CONTENT)
    with pytest.raises(
        UserError, match=r"part' cannot be written: Is a directory\. Let SSD_KERAS_C"
    ):
        fetch(publisher, tmp_path)
    assert publisher.asked == []


def test_progress_goes_to_the_side_a_line_for_each_tenth(tmp_path, capsys):
    fetch(Publisher(CONTENT, ["cut"]), tmp_path)
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert "The connection was cut after 0.8 of 1.5 MB: once more." in lines
    assert "Going on after 0.8 of 1.5 MB." in lines
    assert lines[-1] == "  1.5 of 1.5 MB"
    assert len(lines) <= 12


def test_listing_and_building_open_no_connection(monkeypatch):
    def refuse(*arguments):
        raise AssertionError(f"a connection to {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert "ssd_mobilenet_v2_coco" in ssd_keras.list_weights()
    assert ssd_keras.create("SSD_MobileNet_300", ["a"], width=0.25).classes == ("a",)
