"""What a detector is named by: a run folder, a .keras file, or published weights."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ssd_keras
from ssd_keras import locks
from ssd_keras.errors import UserError, did_you_mean
from ssd_keras.files import disk_errors, is_remote, replace, write_text
from ssd_keras.reading import exists
from ssd_keras.run_folder import RunFolder, run_folder_of
from ssd_keras.weights import archives, fetching
from ssd_keras.weights.catalogue import Entry, Remote, find_entry, is_published, list_weights
from ssd_keras.weights.imported import Imported
from ssd_keras.weights.importing import FORM, import_detector
from ssd_keras.weights.zoo_archives import MAX_UNPACKED_BYTES


def detector_file(name: str | os.PathLike) -> Path:
    """The .keras file of a detector, however it is named.

    Args:
        name: a run folder (its best weights), a .keras file, or a name of `list_weights`, whose
            file is fetched and imported the first time. What lies on the disk goes first. A run
            folder and its files may lie on a remote place.

    Raises:
        UserError: there is no such detector, or its published weights cannot be had.
    """
    path = Path(name)
    if is_remote(name):
        return _remote_file(name)
    if path.suffix == ".tflite" and not path.is_dir():
        raise UserError(
            f"'{path}' is an exported file, and a detector is named by its run folder or .keras "
            "file. ssd-keras export-report measures what is exported; ssd-keras import-weights "
            "makes a run folder of a .tflite file."
        )
    if exists(path):
        return RunFolder(path).detector_file() if path.is_dir() else path
    if means_published(name):
        return published_file(find_entry(os.fspath(name)))
    raise _no_detector(path)


def _remote_file(name: str | os.PathLike) -> Path:
    folder = run_folder_of(name)
    if not os.fspath(name).endswith(".keras"):
        return folder.detector_file()
    file = folder.file(os.path.basename(name))
    if not exists(file):
        raise UserError(f"There is no .keras file '{name}'.")
    return file


def means_published(name: str | os.PathLike) -> bool:
    """Whether a name means published weights: it is one of theirs, and nothing lies there."""
    return is_published(os.fspath(name)) and not exists(Path(name))


def results_folder(name: str | os.PathLike, ending: str) -> Path:
    """Where results of a detector go unless told otherwise.

    Args:
        name: how the detector is named.
        ending: what the results are.

    Returns:
        The run folder, the folder of a .keras file, or NAME_ENDING for published weights and
        remote places.
    """
    if means_published(name) or is_remote(name):
        return Path(f"{Path(name).name.removesuffix('.keras')}_{ending}")
    path = Path(name)
    return path if path.is_dir() else path.parent


def _no_detector(path: Path) -> UserError:
    try:
        beside = os.listdir(path.parent)
    except OSError:
        beside = []
    near = did_you_mean(path.name, [*beside, *list_weights()])
    return UserError(
        f"There is no run folder or .keras file '{path}', nor published weights of this name.{near}"
        " ssd_keras.list_weights() shows these."
    )


def is_kept(name: str) -> bool:
    """Whether a published detector is on this machine, so that nothing is fetched for it.

    Raises:
        UserError: there is none of this name.
    """
    entry = find_entry(name)
    folder = fetching.cache_folder() / entry.name
    source = fetching.mirror_of(entry.file)
    places = [_imported_file(entry, folder), folder / entry.file.name]
    places += [source] if isinstance(source, Path) else []
    places += _single_places(entry.inside, folder) if entry.inside else []
    return any(map(exists, places))


def published_file(entry: Entry) -> Path:
    """The .keras file of a published detector; fetched and imported if it is not there.

    It is kept in the cache folder, for this version of the project and of its importers.

    Raises:
        UserError: the file cannot be had, is not what was published, or cannot be imported.
    """
    folder = fetching.cache_folder() / entry.name
    place = _imported_file(entry, folder)
    if exists(place):
        return place
    with locks.waiting(folder, _tell_of_others(entry)):
        if not exists(place):
            _remove_leftovers(folder)
            imported = _import(entry, folder)
            write_text(folder / "import_report.txt", imported.report() + "\n")
            replace(place, imported.detector.save)
    return place


def _tell_of_others(entry: Entry):
    return lambda holder: fetching.tell(f"Waiting for {holder}, which is fetching '{entry.name}'.")


def _imported_file(entry: Entry, folder: Path) -> Path:
    return folder / f"{entry.name}-{_version()}.keras"


def _version() -> str:
    return f"{ssd_keras.__version__}.{FORM}"


def _import(entry: Entry, folder: Path) -> Imported:
    with fetching.first_use(entry.file, folder), _weights_files(entry, folder) as files:
        prototxt = next((file for file in files if file.suffix == ".prototxt"), None)
        imported = import_detector(files[0], prototxt=prototxt, labels=entry.labels)
        if imported.detector.name != entry.architecture:
            raise UserError(
                f"'{entry.name}' should be {entry.architecture}, but its file holds "
                f"{imported.detector.name}: it is another file."
            )
    return imported


@contextmanager
def _weights_files(entry: Entry, folder: Path) -> Iterator[list[Path]]:
    """The files that are imported; what is unpacked for that is there no longer than needed."""
    advice = _advice(entry, folder)
    single = _find_in_place(entry.inside, folder) if entry.inside else None
    if single:
        yield [single]
        return
    _announce(entry, folder)
    file = fetching.fetch(entry.file, folder, advice)
    if not entry.members:
        yield [file]
        return
    with _temporary_folder(folder) as unpacked:
        yield archives.unpack(file, entry.members, unpacked, MAX_UNPACKED_BYTES, advice)


@contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    with disk_errors(folder, f" Let {fetching.CACHE} name another folder."):
        temporary = tempfile.TemporaryDirectory(dir=folder, prefix=_PARTIAL)
    with temporary as name:
        yield Path(name)


_PARTIAL = ".partial-"


def _remove_leftovers(folder: Path):
    """Removes what a process that was killed had unpacked; whoever holds the lock may."""
    for left in folder.glob(f"{_PARTIAL}*/*"):
        left.unlink()
    for left in folder.glob(f"{_PARTIAL}*"):
        if left.is_dir():
            left.rmdir()


def _find_in_place(inside: Remote, folder: Path) -> Path | None:
    """The weights by themselves, if the user has put them into the cache or the mirror."""
    for place in _single_places(inside, folder):
        if exists(place):
            fetching.check(place, inside, folder)
            return place
    return None


def _single_places(inside: Remote, folder: Path) -> list[Path]:
    mirror = fetching.mirror_of(inside)
    # Many archives hold a file of this name.
    others = [mirror.parent / folder.name] if isinstance(mirror, Path) else []
    return [place / inside.name for place in (folder, *others)]


def _announce(entry: Entry, folder: Path):
    """Says before it begins what is fetched, from where, how much and on what terms."""
    source = fetching.mirror_of(entry.file)
    if exists(folder / entry.file.name) or isinstance(source, Path):
        return
    size = f"{entry.file.size / 1e6:.0f} MB" if entry.file.size else "of unknown size"
    fetching.tell(
        f"Fetching '{entry.name}' ({size}, {entry.licence}, {entry.origin}) from {source} to "
        f"'{folder}'."
    )


def _advice(entry: Entry, folder: Path) -> str:
    alone = f", or its '{entry.inside.name}' alone," if entry.inside else ""
    return (
        f"To do without a network, put '{entry.file.name}' of {entry.file.address}{alone} into "
        f"'{folder}'."
    )
