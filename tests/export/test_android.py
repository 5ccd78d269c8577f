"""The Android app hangs together, as far as it can be seen without an Android SDK."""

import re
from xml.etree import ElementTree

import pytest

from ssd_keras.boxes import Suppression
from ssd_keras.deploy import metadata
from ssd_keras.deploy.tflite_file import packed_files
from tests.conftest import ROOT

APP = ROOT / "export" / "android" / "app"
ANDROID = "{http://schemas.android.com/apk/res/android}"
KOTLIN = "\n".join(path.read_text(encoding="utf-8") for path in APP.rglob("*.kt"))
GRADLE = (APP / "build.gradle.kts").read_text(encoding="utf-8")
MANIFEST = ElementTree.parse(APP / "src/main/AndroidManifest.xml").getroot()


def resources() -> set[str]:
    """The names that the app's resources define, as `id.view`."""
    folder = APP / "src" / "main" / "res"
    strings = ElementTree.parse(folder / "values" / "strings.xml").getroot()
    found = {f"string.{entry.get('name')}" for entry in strings}
    for layout in (folder / "layout").glob("*.xml"):
        found.add(f"layout.{layout.stem}")
        for view in ElementTree.parse(layout).iter():
            name = view.get(f"{ANDROID}id")
            found |= {f"id.{name.removeprefix('@+id/')}"} if name else set()
    return found


def test_all_resources_in_use_are_defined():
    used = set(re.findall(r"\bR\.(\w+\.\w+)", KOTLIN))
    texts = [path.read_text(encoding="utf-8") for path in APP.rglob("*.xml")]
    used |= {f"string.{name}" for text in texts for name in re.findall(r"@string/(\w+)", text)}
    assert len(used) > 8
    assert used == resources()


def test_all_classes_that_files_name_exist():
    package = re.search(r'namespace = "(.+)"', GRADLE)[1]
    layout = ElementTree.parse(APP / "src/main/res/layout/activity_main.xml")
    named = {view.tag for view in layout.iter() if "." in view.tag}
    named |= {package + entry.get(f"{ANDROID}name") for entry in MANIFEST.iter("activity")}
    declared = {f"{package}.{name}" for name in re.findall(r"\bclass (\w+)", KOTLIN)}
    assert len(named) == 2
    assert named <= declared
    assert set(re.findall(r"^package (.+)$", KOTLIN, re.M)) == {package}


@pytest.mark.parametrize("flavor", ["mediapipe", "litert"])
def test_each_flavor_has_its_library_and_its_detector(flavor):
    sources = [path.read_text(encoding="utf-8") for path in (APP / "src" / flavor).rglob("*.kt")]
    assert f'create("{flavor}")' in GRADLE
    assert f'"{flavor}Implementation"' in GRADLE
    assert sum("fun createDetector(context: Context): Detector" in text for text in sources) == 1


def test_the_build_asks_for_the_file_that_the_app_opens():
    model = re.search(r'const val MODEL = "(.+)"', KOTLIN)[1]
    readme = (APP.parent / "README.md").read_text(encoding="utf-8")
    assert f'file("src/main/assets/{model}")' in GRADLE
    assert f"--out=export/android/app/src/main/assets/{model}" in readme


def test_what_the_app_reads_from_the_file_is_in_it(float_file):
    files = packed_files(float_file)
    packed = set(re.findall(r'text\("(.+?)"\)', KOTLIN))
    settings = set(re.findall(r'settings\.get\w+\("(.+?)"\)', KOTLIN))
    assert packed == {metadata.LABEL_FILES[0], metadata.SETTINGS_FILE}
    assert packed <= set(files)
    assert {"image_size", "quantization", "postprocess", "variances", "resize"} <= settings
    assert settings >= set(Suppression().as_dict())
    assert settings <= set(metadata.settings_of(files))
    assert metadata.settings_of(files)["image_size"] == [96, 96]


def test_the_readme_names_every_file_that_an_app_of_ones_own_needs():
    text = (APP.parent / "README.md").read_text(encoding="utf-8")
    sentence = text[text.index("To take detection into an app of your own") :]
    files = {path.name for path in (APP / "src/main").rglob("*.kt")}
    of_this_app = {"MainActivity.kt", "DetectionView.kt"}
    assert set(re.findall(r"`(\w+\.kt)`", sentence)) == files - of_this_app


def test_the_readme_of_the_page_names_every_file_of_it():
    folder = ROOT / "export" / "web"
    text = (folder / "README.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in text.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`([\w.]+)`", rows))
    assert {path.name for path in folder.glob("*.js")} <= named
