"""Videos are written whole or not at all, and read frame by frame."""

import numpy as np
import pytest

from ssd_keras import video
from ssd_keras.errors import UserError
from tests import mutations

cv2 = pytest.importorskip("cv2", reason="needs the extra 'video'")

SHADES = (40, 120, 200)


def frames():
    return (np.full((48, 64, 3), shade, np.uint8) for shade in SHADES)


def test_what_is_written_is_read_again(tmp_path):
    assert video.write_video(tmp_path / "a.mp4", frames(), 5) == 3
    with video.Frames(str(tmp_path / "a.mp4")) as read:
        assert (read.count, read.rate, read.name, read.live) == (3, 5, "a", False)
        for frame, shade in zip(read, SHADES, strict=True):
            assert frame.shape == (48, 64, 3)
            np.testing.assert_allclose(frame, shade, atol=6)


def test_colours_keep_their_order(tmp_path):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 220
    video.write_video(tmp_path / "a.mp4", [red] * 3, 5)
    with video.Frames(str(tmp_path / "a.mp4")) as read:
        np.testing.assert_allclose(next(iter(read)).mean((0, 1)), [220, 0, 0], atol=12)


def test_an_earlier_video_stays_if_the_new_one_fails(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"earlier")

    def broken():
        yield from frames()
        raise UserError("the detector is gone")

    with pytest.raises(UserError, match="gone"):
        video.write_video(tmp_path / "a.mp4", broken(), 5)
    assert (tmp_path / "a.mp4").read_bytes() == b"earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_frames_that_do_not_arrive_on_the_disk_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "_frames_in", lambda path: 2)
    with pytest.raises(UserError, match="is the disk full"):
        video.write_video(tmp_path / "a.mp4", frames(), 5)
    assert not list(tmp_path.iterdir())


def test_an_interruption_while_a_frame_is_written_ends_the_video_there(tmp_path, monkeypatch):
    write, count = video._Writer.write, iter(range(9))

    def interrupted(self, frame):
        if next(count) == 2:
            raise KeyboardInterrupt
        write(self, frame)

    monkeypatch.setattr(video._Writer, "write", interrupted)
    assert video.write_video(tmp_path / "a.mp4", frames(), 5) == 2
    with video.Frames(str(tmp_path / "a.mp4")) as read:
        assert len(list(read)) == 2


def test_no_frame_makes_no_video(tmp_path):
    with pytest.raises(UserError, match="no frame"):
        video.write_video(tmp_path / "a.mp4", iter(()), 5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["a FIFO", "an endless device", "a folder", "an empty file"])
def test_what_is_no_video_is_named(tmp_path, kind):
    mutations.put_in_place(tmp_path / "a.mp4", kind)
    with pytest.raises(UserError, match=r"a\.mp4' cannot be (opened|read)"):
        video.Frames(str(tmp_path / "a.mp4"))


def test_a_missing_video_is_named(tmp_path):
    with pytest.raises(UserError, match="no video"):
        video.Frames(str(tmp_path / "a.mp4"))


@pytest.mark.parametrize(
    ("frames", "seconds", "rate"), [(20, 0.2, 5.0), (3, 0.5, 2.0), (1, 0.2, 1.0), (20, 0.0, 1.0)]
)
def test_a_recording_goes_as_fast_as_its_frames_came(monkeypatch, frames, seconds, rate):
    clock = iter(np.arange(frames) * seconds)
    monkeypatch.setattr(video.time, "monotonic", lambda: next(clock))
    drawn, found = video.paced(iter(range(frames)))
    assert found == pytest.approx(rate)
    assert list(drawn) == list(range(frames))


@pytest.mark.parametrize(
    ("written", "told", "said"),
    [(50, 100, "after 50 of 100 frames"), (95, 100, ""), (100, 100, ""), (7, None, "")],
)
def test_a_video_that_breaks_off_is_told(written, told, said):
    text = video.what_is_missing(written, told)
    assert said in text if said else text == ""
