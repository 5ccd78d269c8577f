"""The web page finds in the browser what the library finds with the same file."""

import base64
import functools
import http.server
import io
import json
import shutil
import subprocess
import threading

import keras
import numpy as np
import pytest
from PIL import Image

import ssd_keras
from ssd_keras import deploy
from ssd_keras.deploy import flatbuffer, postprocess
from ssd_keras.deploy.tflite_file import TFLiteFile, packed_files
from ssd_keras.detections import Detections
from ssd_keras.resizing import resize
from tests.conftest import ROOT
from tests.deploy.conftest import (
    CLASSES,
    WAYS_OF_RECTANGLES,
    assemble,
    assemble_anew,
    enliven,
    pictures,
    portrait_and_landscape,
    rectangle,
    rectangle_file,
)
from tests.export import golden
from tests.export.conftest import load_script

pytestmark = pytest.mark.slow

WEB = ROOT / "export" / "web"
SECONDS = 240
MIN_SCORE = 0.4
IMAGE = pictures(1, seed=9)[0]

# Uses the page as a person does: chooses the files, waits and reads the list of objects. The last
# image keeps the browser open until the server has the answer.
VISITOR = """
<!doctype html><style>body,iframe{margin:0;border:0;width:880px;height:900px}</style>
<iframe src="index.html%s"></iframe>
<script type="module">
const frame = document.querySelector('iframe');
await new Promise((resolve) => frame.addEventListener('load', resolve));
const page = frame.contentDocument;
const status = page.getElementById('status');
async function until(pattern) {
  while (!pattern.test(status.textContent) && status.className !== 'fault') {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
async function choose(id, url, name) {
  const content = await (await fetch(url)).blob();
  const list = new DataTransfer();
  list.items.add(new File([content], name, {type: content.type}));
  const input = page.getElementById(id);
  input.files = list.files;
  input.dispatchEvent(new Event('change'));
}
try {
  %s
} catch (error) {
  status.textContent = error.message;
}
const rows = [...page.querySelectorAll('#found tbody tr')].map(
    (row) => [...row.cells].map((cell) => cell.textContent));
await fetch('/answer', {method: 'POST', body: JSON.stringify({
  status: status.textContent,
  fault: status.className === 'fault',
  isolated: frame.contentWindow.crossOriginIsolated,
  rows,
})});
</script>
<img src="/wait.png">
"""
CHOOSE_FILES = """
  await choose('model', '/model.tflite', 'model.tflite');
  await until(/classes/);
  await choose('picture', '/photo.png', 'photo.png');
  await until(/objects? in/);
"""
CHOOSE_MODEL = """
  await choose('model', '/model.tflite', 'model.tflite');
  await until(/classes/);
"""
START_CAMERA = """
  await choose('model', '/model.tflite', 'model.tflite');
  await until(/classes/);
  page.getElementById('camera').click();
  await until(/objects? in/);
"""


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


@pytest.fixture(scope="module")
def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page with its runtime, as `npm install` leaves it."""
    copy = tmp_path_factory.mktemp("web") / "web"
    if (WEB / "node_modules").is_dir():
        shutil.copytree(WEB, copy)
        return copy
    if shutil.which("npm") is None:
        pytest.skip("needs the runtime: npm install in export/web")
    shutil.copytree(WEB, copy)
    done = subprocess.run(
        ["npm", "ci", "--no-audit"], cwd=copy, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"the runtime cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return copy


@pytest.fixture(scope="module")
def visit(chromium, folder, tmp_path_factory):
    """`visit(model, steps, query, image)`: what the page shows in the end, and a screenshot."""
    serve = load_script(folder / "serve.py")

    def visit(model: bytes, steps: str, query: str = "", image: np.ndarray = IMAGE) -> dict:
        contents = {
            "/visitor.html": (VISITOR % (query, steps)).encode(),
            "/model.tflite": model,
            "/photo.png": png(image),
        }
        answers, answered = [], threading.Event()

        class Handler(serve.Handler):
            def do_GET(self):
                if self.path == "/wait.png":
                    answered.wait(SECONDS)
                    self.send_error(404)
                elif self.path in contents:
                    self.send_response(200)
                    kind = {"html": "text/html", "png": "image/png"}
                    self.send_header(
                        "Content-Type", kind.get(self.path.split(".")[-1], "application/x-tflite")
                    )
                    self.end_headers()
                    self.wfile.write(contents[self.path])
                else:
                    super().do_GET()

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                answers.append(json.loads(self.rfile.read(length)))
                self.send_response(204)
                self.end_headers()
                answered.set()

            def log_message(self, *_):
                pass

        handler = functools.partial(Handler, directory=folder)
        home = tmp_path_factory.mktemp("chromium")
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            command = [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--user-data-dir={home}/profile",
                "--window-size=880,900",
                f"--screenshot={home}/page.png",
                f"http://127.0.0.1:{server.server_port}/visitor.html",
            ]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=SECONDS, check=False
                )
            except subprocess.TimeoutExpired as error:
                pytest.fail(f"the page did not answer in {SECONDS} s: {error.stderr}")
            finally:
                answered.set()
                server.shutdown()
        assert answers, done.stderr[-2000:]
        return answers[0] | {"screenshot": home / "page.png"}

    return visit


@pytest.mark.parametrize(
    ("kind", "quantization"),
    [("builtin", "none"), ("builtin", "int8"), ("none", "none"), ("none", "int8")],
)
def test_the_page_lists_what_the_library_finds(visit, kind, quantization):
    content = assemble(kind, quantization)
    assert_shows_what_the_library_finds(visit, content, assemble("builtin", quantization))


def test_the_page_takes_files_of_many_classes(visit, monkeypatch):
    """Their suppression has other operators; here they come with three classes already."""
    monkeypatch.setattr(postprocess, "MAX_CANDIDATES", 400)
    content = assemble_anew("builtin")
    assert {"ONE_HOT", "CUMSUM"} <= set(TFLiteFile(content).operators())
    assert_shows_what_the_library_finds(visit, content)


def test_the_page_keeps_the_aspect_ratio_where_the_file_says_so(visit, float_file):
    file = TFLiteFile(float_file)
    settings = json.loads(file.files["ssd_keras.json"]) | {"resize": "letterbox"}
    file.files["ssd_keras.json"] = json.dumps(settings).encode()
    assert_shows_what_the_library_finds(visit, file.to_bytes())


def test_the_page_takes_rectangles(visit):
    keras.utils.set_random_seed(0)
    detector = enliven(ssd_keras.create("SSD_MobileNet_96x160", CLASSES, width=0.25))
    assert_shows_what_the_library_finds(visit, deploy.to_tflite(detector, score_threshold=0.3))


@pytest.mark.parametrize("side", [0, 1], ids=["portrait", "landscape"])
@pytest.mark.parametrize("way", WAYS_OF_RECTANGLES)
def test_a_rectangle_finds_what_keras_finds(visit, way, side):
    image = portrait_and_landscape()[side]
    assert_shows(visit, rectangle_file(way), rectangle(way).detect(image), image)


def assert_shows_what_the_library_finds(visit, content: bytes, inside: bytes | None = None):
    """`inside`: the same network with the suppression in the file, if `content` has none."""
    assert_shows(visit, content, deploy.TFLiteDetector(inside or content).detect(IMAGE))


def assert_shows(visit, content: bytes, wanted: Detections, image: np.ndarray = IMAGE):
    """The page lists what is wanted of the image."""
    shown = visit(content, CHOOSE_FILES, image=image)
    assert not shown["fault"], shown["status"]
    numbers = np.array([[float(cell) for cell in row[1:]] for row in shown["rows"]])
    found = Detections(
        numbers[:, 1:] / np.tile(image.shape[:2], 2),
        numbers[:, 0],
        [CLASSES.index(row[0]) for row in shown["rows"]],
        CLASSES,
    )
    # A score that is nearly the least one may lie on either side of it.
    assert len(found.above(MIN_SCORE + 0.01)) > 3
    assert_all_in(found.above(MIN_SCORE + 0.01), wanted, image.shape[:2])
    assert_all_in(wanted.above(MIN_SCORE + 0.01), found, image.shape[:2])


def assert_all_in(some: Detections, others: Detections, size: tuple[int, int]):
    """Each has a partner: same class, edges within 0.5 px, nearly the same score."""
    for box, score, label in zip(some.boxes, some.scores, some.labels, strict=True):
        near = np.abs((others.boxes - box) * np.tile(size, 2)).max(-1) < 0.5
        same = near & (others.labels == label) & (np.abs(others.scores - score) < 5e-3)
        assert same.any(), (box, score, label)


def test_boxes_are_drawn_over_the_picture(visit, float_file):
    shown = np.asarray(Image.open(visit(float_file, CHOOSE_FILES)["screenshot"]).convert("RGB"))
    # Colours of the classes, hsl(0 90% 40%) and so on, which the picture does not have.
    drawn = [
        np.mean(np.abs(shown.astype(int) - colour).max(-1) < 3)
        for colour in ([194, 10, 10], [10, 194, 64], [102, 10, 194])
    ]
    assert max(drawn) > 0.001


def test_threads_are_allowed_by_the_server(visit, float_file):
    assert visit(float_file, CHOOSE_MODEL)["isolated"]


def test_the_camera_is_watched(visit, float_file):
    shown = visit(float_file, START_CAMERA)
    assert not shown["fault"], shown["status"]
    assert " ms." in shown["status"]


STOP_CAMERA = """
  page.getElementById('camera').click();
  await new Promise((resolve) => setTimeout(resolve, 1000));
"""


def test_a_camera_that_is_stopped_leaves_no_fault(visit, float_file):
    shown = visit(float_file, START_CAMERA + STOP_CAMERA)
    assert not shown["fault"], shown["status"]


def test_a_model_is_given_in_the_address(visit, float_file):
    shown = visit(float_file, "await until(/classes/);", "?model=/model.tflite")
    assert shown["status"] == "/model.tflite: 3 classes, images of 96 x 96 pixels (height x width)."


def test_a_model_of_another_site_is_not_loaded(visit, float_file):
    shown = visit(float_file, "await until(/beside/);", "?model=http://evil.example/a.tflite")
    assert shown["fault"]
    assert shown["status"] == "?model= names a file beside this page."


def test_names_are_shown_as_they_are(visit, float_file):
    """Whatever they hold, nothing of it becomes a part of the page."""
    names = ["<script>document.title='x'</script>", "<img src=x onerror=alert(1)>", "a  $\"'&\t"]
    file = TFLiteFile(float_file)
    file.files["labels.txt"] = "".join(f"{name}\n" for name in names).encode()
    shown = visit(file.to_bytes(), CHOOSE_FILES)
    assert not shown["fault"], shown["status"]
    assert {row[0] for row in shown["rows"]} <= set(names)
    assert len(shown["rows"]) > 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: b"something else", "This is not a .tflite file."),
        (lambda: without_anchors(assemble("none")), "The file has 2 outputs and no default boxes:"),
        (
            lambda: flatbuffer.write(flatbuffer.read(assemble("builtin"))),
            "The file holds no labels: export it with ssd-keras export-tflite.",
        ),
    ],
    ids=["no_model", "raw", "no_labels"],
)
def test_wrong_files_are_told_in_one_sentence(visit, content, message):
    shown = visit(content(), CHOOSE_MODEL)
    assert shown["fault"]
    assert shown["status"].startswith(message)


def without_anchors(content: bytes) -> bytes:
    file = TFLiteFile(content)
    del file.files["anchors.f32"]
    return file.to_bytes()


def node(script: str, argument: str = "") -> str:
    """What a JavaScript module prints; it may import the page's own modules."""
    if shutil.which("node") is None:
        pytest.skip("needs node")
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script, argument],
        cwd=WEB,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("size", [(96, 96), (240, 320), (7, 300)])
@pytest.mark.parametrize(("way", "centre"), [("half_pixel", 0.5), ("corner", 0)])
def test_resizing_is_the_librarys(tmp_path, dtype, size, way, centre):
    rgba = np.concatenate([IMAGE, np.full((*IMAGE.shape[:2], 1), 255, np.uint8)], -1)
    rgba.tofile(tmp_path / "image")
    height, width = size
    node(
        "import {readFileSync, writeFileSync} from 'node:fs';"
        "import {resized} from './pixels.js';"
        "const image = {data: readFileSync(process.argv[1] + '/image'), height: 120, width: 160};"
        f"const values = resized(image, {height}, {width}, '{dtype}', {centre});"
        "writeFileSync(process.argv[1] + '/values', new Uint8Array(values.buffer));",
        str(tmp_path),
    )
    found = np.fromfile(tmp_path / "values", dtype).reshape(height, width, 3)
    wanted = resize(IMAGE, size, way)
    # JavaScript computes in float64 (2.6e-3 apart), so halves may be rounded the other way.
    np.testing.assert_allclose(found, wanted, atol=0.51 if dtype == "uint8" else 3e-3)


def test_packed_files_are_read(tmp_path, float_file):
    (tmp_path / "model").write_bytes(float_file)
    printed = node(
        "import {readFileSync} from 'node:fs';"
        "import {packedFiles} from './packed_files.js';"
        "const files = packedFiles(readFileSync(process.argv[1]));"
        "const decoder = new TextDecoder();"
        "const texts = [...files].map(([name, bytes]) => [name, decoder.decode(bytes)]);"
        "console.log(JSON.stringify(Object.fromEntries(texts)));",
        str(tmp_path / "model"),
    )
    wanted = {name: data.decode() for name, data in packed_files(float_file).items()}
    assert json.loads(printed) == wanted


# What golden.py has written, for the lines of JavaScript that follow.
READ_RAW_OUTPUTS = (
    "import {readFileSync} from 'node:fs';"
    "import {decode, suppress} from './suppression.js';"
    "const read = (name) => readFileSync(process.argv[1] + '/' + name);"
    "const floats = (name) => new Float32Array(new Uint8Array(read(name)).buffer);"
    "const rule = JSON.parse(read('rule.json'));"
)


@pytest.mark.parametrize("rule", golden.RULES)
def test_suppression_outside_is_that_of_the_library(tmp_path, rule):
    golden.write_raw_outputs(rule, tmp_path)
    printed = node(
        READ_RAW_OUTPUTS
        + "const corners = decode(floats('codes'), floats('anchors'), rule.variances);"
        "const found = suppress(corners, floats('scores'), rule);"
        "console.log(JSON.stringify(found.map((f) => [...f.box, f.label, f.score])));",
        str(tmp_path),
    )
    golden.assert_detections(json.loads(printed), rule)


def test_photographs_have_the_detections_of_the_file_with_suppression_inside(photographs):
    folder, wanted = photographs
    printed = node(
        READ_RAW_OUTPUTS + f"for (let i = 0; i < {len(wanted)}; i++) {{"
        "  const place = String(i).padStart(3, '0');"
        "  const corners = decode(floats(place + '/codes'), floats('anchors'), rule.variances);"
        "  const found = suppress(corners, floats(place + '/scores'), rule);"
        "  console.log(JSON.stringify(found.map((f) => [...f.box, f.label, f.score])));"
        "}",
        str(folder),
    )
    golden.assert_photographs([json.loads(line) for line in printed.splitlines()], wanted)


@pytest.mark.parametrize("way", golden.CENTRES)
@pytest.mark.parametrize("name", golden.PHOTOGRAPHS)
def test_the_network_gets_the_pixels_that_the_library_gives_it(tmp_path, name, way):
    """Of a photograph that stands upright, as browsers decode it."""
    image = golden.upright(name)
    height, width = image.shape[:2]
    np.dstack([image, np.full((height, width), 255, np.uint8)]).tofile(tmp_path / "image")
    sides = f"{golden.SIZE[0]}, {golden.SIZE[1]}"
    seen = f"letterbox(image, {sides})" if way == "letterbox" else "undefined"
    printed = node(
        "import {readFileSync} from 'node:fs';"
        "import {letterbox, resized} from './pixels.js';"
        "const data = readFileSync(process.argv[1] + '/image');"
        f"const image = {{data, height: {height}, width: {width}}};"
        f"const values = resized(image, {sides}, 'uint8', {golden.CENTRES[way]}, {seen});"
        "console.log(JSON.stringify([...values]));",
        str(tmp_path),
    )
    golden.assert_pixels(json.loads(printed), name, way)


def test_pictures_lie_on_the_letterbox_where_the_library_lays_them():
    printed = node(
        "import {letterbox} from './pixels.js';"
        f"for (const [height, width] of {json.dumps(golden.SIZES)}) {{"
        "  const seen = letterbox({height, width}, 192, 320);"
        "  const inside = [(76.8 - seen.top) / seen.rows, (128 - seen.left) / seen.columns];"
        "  const cut = inside.map((share) => Math.min(Math.max(share, 0), 1));"
        "  console.log(seen.top, seen.left, seen.rows, seen.columns, ...cut);"
        "}"
    )
    golden.assert_places([line.split() for line in printed.splitlines()])


@pytest.mark.parametrize("name", golden.PHOTOGRAPHS)
def test_the_page_opens_photographs_upright(visit, float_file, name):
    """The browser turns them as their EXIF data say; the network gets what Python gives it."""
    photograph = base64.b64encode(golden.photograph(name)).decode()
    steps = f"""
      {CHOOSE_MODEL}
      const blob = await (await fetch('data:image/png;base64,{photograph}')).blob();
      const picture = await createImageBitmap(blob);
      const [width, height] = [picture.width, picture.height];
      const canvas = new OffscreenCanvas(width, height).getContext('2d');
      canvas.drawImage(picture, 0, 0);
      const pixels = await import('/pixels.js');
      const image = canvas.getImageData(0, 0, width, height);
      const values = pixels.resized(image, {golden.SIZE[0]}, {golden.SIZE[1]}, 'uint8');
      status.textContent = JSON.stringify([...values]);
    """
    shown = visit(float_file, steps)
    golden.assert_pixels(json.loads(shown["status"]), name, "half_pixel")


def test_tiles_in_javascript_are_those_of_the_library(tmp_path):
    (tmp_path / "cases.json").write_text(json.dumps(golden.tile_cases()))
    printed = node(
        "import {readFileSync} from 'node:fs';"
        "import {mergeTiles, tilesOf} from './tiles.js';"
        "const cases = JSON.parse(readFileSync(process.argv[1], 'utf8'));"
        "console.log(JSON.stringify(cases.map(({size, tiling, found, class_agnostic}) => {"
        "const tiles = tilesOf(...size, tiling);"
        "const rows = mergeTiles(tiles, found, tiling, class_agnostic)"
        ".map(({box, score, label}) => [...box, score, label]);"
        "return {tiles, rows};})));",
        str(tmp_path / "cases.json"),
    )
    for found, case in zip(json.loads(printed), golden.tile_cases(), strict=True):
        assert found["tiles"] == case["tiles"]
        golden.assert_merged(found["rows"], case)


def test_a_part_of_a_picture_in_javascript():
    pixels = list(range(4 * 5 * 3))
    printed = node(
        "import {cropped} from './pixels.js';"
        f"const image = {{data: Uint8ClampedArray.from({pixels}), height: 3, width: 5}};"
        "const part = cropped(image, [1, 2, 3, 4]);"
        "console.log(JSON.stringify([part.height, part.width, ...part.data]));"
    )
    wanted = np.reshape(pixels, (3, 5, 4))[1:3, 2:4]
    assert json.loads(printed) == [2, 2, *wanted.ravel().tolist()]
