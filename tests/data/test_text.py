"""How the bytes of a text file become letters, and words become numbers."""

import os
import socket

import pytest

from ssd_keras.data import text
from ssd_keras.errors import UserError

KOREAN = "a.jpg,1,2,3,4,고양이\nb.jpg,5,6,7,8,강아지\n"


@pytest.mark.parametrize(
    ("written", "encoding", "noted"),
    [
        ("a,고양이,猫,é\n", "utf-8", None),
        ("a,고양이,猫,é\n", "utf-8-sig", None),
        ("a,고양이,猫,é\n", "utf-16", "UTF-16"),
        ("\ufeffa,고양이,猫,é\n", "utf-16-be", "UTF-16"),
        ("a,고양이,猫,é\n", "utf-32", "UTF-32"),
        ("a.jpg,1,2,고양이\n", "utf-16-le", "UTF-16-LE"),
        ("a.jpg,1,2,고양이\n", "utf-16-be", "UTF-16-BE"),
        ("a.jpg,1,2,고양이\n", "utf-32-le", "UTF-32-LE"),
        ("a.jpg,1,2,고양이\n", "utf-32-be", "UTF-32-BE"),
        (KOREAN, "cp949", "CP949 (Korean)"),
        ("a.jpg,1,2,3,4,고양이\n", "cp949", "CP949 (Korean)"),
        ("자동차\n사람 (어린이)\n신호등·빨강\n", "cp949", "CP949 (Korean)"),
        ("", "utf-8", None),
    ],
)
def test_a_text_is_read_in_its_encoding(tmp_path, written, encoding, noted):
    path = tmp_path / "list.txt"
    path.write_bytes(written.encode(encoding))
    problems = []
    assert text.read_text(path, problems) == written.removeprefix("\ufeff")
    assert [(p.kind, p.place, p.action) for p in problems] == (
        [("encoding", str(path), "noted")] if noted else []
    )
    assert all(p.message == f"is read as {noted}, not UTF-8" for p in problems)


@pytest.mark.parametrize(
    ("written", "encoding", "named"),
    [
        ("狗\n猫\n汽车\n", "gbk", "GB18030 (Chinese)"),
        ("人,飞机,苹果", "gbk", "GB18030 (Chinese)"),
        ("貓,電腦,香蕉", "big5", "BIG5 (Chinese)"),
        ("ネコ\n犬\n自動車\n", "shift_jis", "SHIFT_JIS (Japanese)"),
        ("Äpfel,Âge,Ångström", "cp1252", "CP1252 (Western European)"),
        ("PÄÄ,SÄÄ,TÄÄLLÄ", "cp1252", "CP1252 (Western European)"),
        ("ATENÇÃO,CAMIÃO,AÇÃO,NÃO", "cp1252", "CP1252 (Western European)"),
        ("café,naïve", "cp1252", "CP1252 (Western European)"),
        ("20 °C", "cp1252", "CP1252 (Western European)"),
        ("кошка", "cp1251", "CP1251 (Russian)"),
        ("개", "cp949", "CP949 (Korean)"),  # '°³' in Western Europe: too little to tell
    ],
)
def test_what_cannot_be_told_is_refused_with_a_way_out(tmp_path, written, encoding, named):
    path = tmp_path / "classes.txt"
    path.write_bytes(b"dog\n" + written.encode(encoding))
    with pytest.raises(UserError) as caught:
        text.read_text(path, [])
    message = str(caught.value)
    assert f"'{path}' is not UTF-8 (line 2)" in message
    assert named in message
    assert "iconv -f" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "data",
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"PK\x03\x04\x14\0\0\0\x08\0", b"\0" * 64, b"ab\0cd\n"],
)
def test_bytes_that_are_no_text_are_refused(tmp_path, data):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"no text: it holds zero bytes"):
        text.read_text(path)


def test_a_false_byte_order_mark_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfea")
    with pytest.raises(UserError, match="begins as UTF-16"):
        text.read_text(path)


def test_line_ends_are_the_same_from_every_system(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("a\r\nb\rc\u2028d\n\n".encode())
    assert text.lines(text.read_text(path)) == ["a", "b", "c\u2028d", ""]
    assert text.lines("") == []


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: os.mkfifo(path), "a pipe"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "a socket"),
        (lambda path: path.symlink_to(path), "cannot be read"),
        (lambda path: None, "There is no file"),
    ],
    ids=["pipe", "folder", "device", "socket", "loop", "missing"],
)
def test_only_plain_files_are_opened(tmp_path, monkeypatch, make, said):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    path = tmp_path / "a.txt"
    make(path if said != "a socket" else path.relative_to(tmp_path))
    with pytest.raises(UserError, match=said):
        text.read_text(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "a.txt"
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room
    with pytest.raises(UserError, match=r"larger than the 4,294,967,296 bytes"):
        text.read_text(path)
    path.write_text("12345")
    with pytest.raises(UserError, match="larger"):
        text.read_text(path, limit=4)
    assert text.read_text(path, limit=5) == "12345"


def test_a_large_file_of_zeros_is_refused_by_its_beginning(tmp_path):
    path = tmp_path / "a.txt"
    with open(path, "wb") as file:
        file.truncate(text.LARGEST)
    with pytest.raises(UserError, match="zero bytes"):
        text.read_text(path)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("12", 12.0),
        (" -0.5\n", -0.5),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("5.", 5.0),
        (7, 7.0),
        (2.5, 2.5),
        ("inf", float("inf")),
        ("1e999", float("inf")),
        *((bad, None) for bad in ("1_000", "\uff11\uff12", "0,5", "0x10", "", "cat", "1 2", "1e")),
        *((bad, None) for bad in (True, None, [], {}, 10**400, b"1", 1j)),
    ],
)
def test_a_number_is_what_a_program_writes(written, value):
    assert text.number(written) == value


def test_nan_is_a_number_to_be_named_later():
    assert text.number("NaN") != text.number("NaN")
