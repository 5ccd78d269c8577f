"""Archives that are damaged, or made to write elsewhere or to take all memory."""

import gzip
import io
import tarfile

import pytest

from ssd_keras.errors import UserError
from ssd_keras.weights import archives
from ssd_keras.weights.archives import MAX_HEADER_BYTES, list_members, unpack

LIMIT = 8 << 20


def entry(name, content=b"", kind=tarfile.REGTYPE, **values):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for key, value in values.items():
        setattr(info, key, value)
    return info, content


def archive(folder, *entries):
    path = folder / "weights.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return path


def unpacked(path, *members):
    out = path.parent / "out"
    out.mkdir()
    return [place.read_bytes() for place in unpack(path, members, out, LIMIT)]


LONG = "a" * 120 + "/" + "b" * 120


@pytest.mark.parametrize("members", [["a/x.pb"], ["a/x.pb", LONG], [LONG, "a/x.pb"]])
def test_only_the_named_files_are_written_under_their_last_name(tmp_path, members):
    contents = {"a/x.pb": b"the graph", LONG: b"a long name" * 1000}
    path = archive(
        tmp_path,
        entry("../outside", b"evil"),
        entry("/tmp/absolute", b"evil"),
        entry("a/other.pb", b"x" * 300_000),
        entry("./a/x.pb", contents["a/x.pb"]),
        entry(LONG, contents[LONG]),
        entry("a/x.pb", b"a second one of this name"),
    )
    assert unpacked(path, *members) == [contents[name] for name in members]
    names = sorted(name.rpartition("/")[2] for name in members)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == names
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "weights.tar.gz"]


def test_an_xz_is_read_like_a_gz(tmp_path):
    content = bytes(range(256)) * 5000
    path = tmp_path / "weights.tar.xz"
    with tarfile.open(path, "w:xz") as tar:
        for info, data in (entry("a/", kind=tarfile.DIRTYPE), entry("a/x.pb", content)):
            tar.addfile(info, io.BytesIO(data))
    assert list_members(path, LIMIT) == ["a/x.pb"]
    assert unpacked(path, "a/x.pb") == [content]


@pytest.mark.parametrize(
    ("kept", "memory", "reason"),
    [(200, archives.MAX_XZ_MEMORY, "too early"), (None, 1 << 20, "emory")],
)
def test_an_xz_that_is_cut_off_or_wants_much_memory_is_refused(
    tmp_path, monkeypatch, kept, memory, reason
):
    monkeypatch.setattr(archives, "MAX_XZ_MEMORY", memory)
    path = tmp_path / "weights.tar.xz"
    with tarfile.open(path, "w:xz") as tar:
        info, content = entry("x", bytes(range(256)) * 9)
        tar.addfile(info, io.BytesIO(content))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=f"cannot be read as an archive.*{reason}"):
        list_members(path, LIMIT)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (tarfile.SYMTYPE, {"linkname": "/etc/passwd"}),
        (tarfile.LNKTYPE, {"linkname": "a/other.pb"}),
        (tarfile.DIRTYPE, {}),
        (tarfile.FIFOTYPE, {}),
        (tarfile.CHRTYPE, {}),
    ],
)
def test_links_and_devices_are_refused(tmp_path, kind, values):
    path = archive(tmp_path, entry("a/other.pb", b"x"), entry("a/x.pb", kind=kind, **values))
    with pytest.raises(UserError, match=r"weights.tar.gz' cannot be read .*'a/x.pb' is no plain"):
        unpacked(path, "a/x.pb")
    assert not list((tmp_path / "out").iterdir())


def test_a_missing_file_is_named(tmp_path):
    path = archive(tmp_path, entry("a/x.pb", b"x"))
    with pytest.raises(UserError, match=r"weights.tar.gz' holds no file 'a/y.pb'\. Copy or"):
        unpacked(path, "a/x.pb", "a/y.pb")


@pytest.mark.parametrize("keep", [0, 5, 200, 50_000, 99_000])
def test_a_cut_archive_is_named(tmp_path, keep):
    content = bytes(range(256)) * 1000
    path = archive(tmp_path, entry("a/x.pb", content))
    whole = path.read_bytes()
    path.write_bytes(gzip.compress(gzip.decompress(whole)[: keep * 2], 0)[: keep or None])
    with pytest.raises(UserError, match=r"weights.tar.gz' (cannot be read|holds no file)"):
        unpacked(path, "a/x.pb")


def test_what_unpacks_to_more_than_it_may_is_refused(tmp_path):
    path = archive(tmp_path, entry("a/big", bytes(LIMIT)), entry("a/x.pb", b"x"))
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match="unpacks to more than such an archive may hold"):
        unpacked(path, "a/x.pb")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_name_without_end_takes_no_memory(tmp_path, kind):
    info = tarfile.TarInfo("name")
    info.type, info.size = kind, 4 << 20
    path = tmp_path / "weights.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(6 << 20)))
    assert MAX_HEADER_BYTES < info.size < LIMIT
    with pytest.raises(UserError, match="a name in it has no end"):
        unpacked(path, "a/x.pb")
