"""Which images a path, a folder or a glob means, and what is said of the rest."""

import os
from pathlib import Path

import pytest

from ssd_keras.errors import UserError
from ssd_keras.image_search import find_images


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.PNG", "a.jpg", "notes.txt", "clip.mp4", "cam1/0.jpg", "cam2/0.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "cam1/deep").mkdir()
    (tmp_path / "cam1/deep/0.jpg").touch()
    return tmp_path


def below(folder, paths) -> list[str]:
    return [str(path.relative_to(folder)) for path in paths]


def test_a_folder_gives_its_images_and_names_the_rest(folder):
    found = find_images(str(folder))
    assert below(folder, found.paths) == ["a.PNG", "a.jpg", "b.jpg"]
    assert dict(found.left_out) == {
        "cam1": "a folder: --recursive looks into it",
        "cam2": "a folder: --recursive looks into it",
        "clip.mp4": "a video: give it by itself",
        "notes.txt": "no image file",
    }
    assert found.notice(2).endswith("--recursive looks into it) and 2 more.")


def test_sub_folders_are_looked_into_when_asked_for(folder):
    found = find_images(str(folder), recursive=True)
    assert below(folder, found.paths) == [
        "a.PNG", "a.jpg", "b.jpg", "cam1/0.jpg", "cam1/deep/0.jpg", "cam2/0.jpg",
    ]  # fmt: skip
    names = [str(name) for name in found.names()]
    assert names == ["a", "a_jpg", "b", "cam1/0", "cam1/deep/0", "cam2/0"]


def test_the_folder_of_the_results_is_passed_over(folder):
    found = find_images(str(folder), recursive=True, apart_from=folder / "cam1")
    assert below(folder, found.paths) == ["a.PNG", "a.jpg", "b.jpg", "cam2/0.jpg"]


def test_a_glob_keeps_the_folders_of_what_it_finds(folder):
    found = find_images(f"{folder}/cam*/*")
    assert below(folder, found.paths) == ["cam1/0.jpg", "cam2/0.jpg"]
    assert [str(name) for name in found.names()] == ["cam1/0", "cam2/0"]
    assert [reason for _, reason in found.left_out] == ["a folder"]


def test_a_file_of_any_name_is_taken(folder):
    found = find_images(str(folder / "notes.txt"))
    assert found.paths == (folder / "notes.txt",)
    assert list(found.names()) == [Path("notes")]


def test_names_with_signs_of_globs_are_names(folder):
    (folder / "a[1].jpg").touch()
    assert find_images(str(folder / "a[1].jpg")).paths == (folder / "a[1].jpg",)


def test_a_name_with_dots_is_whole(folder):
    (folder / "v1.2.jpg").touch()
    assert [str(name) for name in find_images(str(folder / "v1*")).names()] == ["v1.2"]


def test_names_that_differ_in_case_alone_stay_apart(tmp_path):
    for name in ("a.jpg", "A.jpg", "a.JPG", "ß.jpg", "SS.jpg"):
        (tmp_path / name).touch()
    found = find_images(str(tmp_path))
    names = [str(name) for name in found.names()]
    assert len({name.casefold() for name in names}) == len(found.paths) == 5


def test_pipes_links_and_what_they_lead_to(folder):
    os.mkfifo(folder / "pipe.jpg")
    (folder / "broken.jpg").symlink_to("nothing")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "linked.jpg").symlink_to("a.jpg")
    (folder / "cam1/back").symlink_to(folder)
    found = find_images(str(folder), recursive=True)
    assert "linked.jpg" in below(folder, found.paths)
    reasons = dict(found.left_out)
    assert reasons["pipe.jpg"] == "a pipe"
    assert reasons["device.jpg"] == "a device"
    assert "cannot be read" in reasons["broken.jpg"]
    assert reasons["cam1/back"] == "a link to a folder"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nothing", "no file or folder '.*nothing'"),
        ("nothing/*.jpg", "Nothing fits"),
        ("cam?", "Nothing fits '.*', except folders"),
        ("empty", "it is empty"),
        ("others", r"no images in the folder .*x\.txt \(no image file\)"),
    ],
)
def test_nothing_found_is_explained(folder, place, message):
    (folder / "empty").mkdir()
    (folder / "others").mkdir()
    (folder / "others/x.txt").touch()
    with pytest.raises(UserError, match=message):
        find_images(f"{folder}/{place}")
