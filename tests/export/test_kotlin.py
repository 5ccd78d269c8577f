"""The Kotlin of the Android app compiles, and its parts without Android give Python's values.

The compiler is the npm package kotlin-compiler, which holds the one for the JVM as well; of
Android and of the libraries there are stubs with the published signatures (android_stubs.txt in
Java, litert_stubs.txt in Kotlin). It needs npm and Java 17; without them the tests are skipped.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ssd_keras.boxes.tiles import Tiling
from ssd_keras.deploy.tflite_file import packed_files
from ssd_keras.detections import Detections
from ssd_keras.resizing import resize
from ssd_keras.tiled_detection import detect_by_tiles
from tests.conftest import ROOT
from tests.deploy.conftest import pictures
from tests.export import golden

pytestmark = pytest.mark.slow

COMPILER = "kotlin-compiler@2.4.20"
APP = ROOT / "export" / "android" / "app" / "src"
HERE = Path(__file__).parent
MEMORY = "-Xmx1g"
SECONDS = 500
# What runs on a JVM, with images and JSON in memory in the place of Android's.
RUNNING = ("Detector.kt", "Looking.kt", "PackedFiles.kt", "Pixels.kt", "Suppression.kt", "Tiles.kt")

# Reads what is asked for from the folder in its first argument and prints the answer.
PROGRAM = """
import android.graphics.*
import io.github.ssdkeras.detect.*
import java.io.File
import java.nio.*
import org.json.JSONObject

fun main(arguments: Array<String>) {
    val (task, folder) = arguments
    fun floats(name: String) =
        ByteBuffer.wrap(File(folder, name).readBytes()).order(ByteOrder.LITTLE_ENDIAN)
            .asFloatBuffer().let { FloatArray(it.remaining()).also { all -> it.get(all) } }
    val numbers = arguments.drop(2).map { it.toFloat() }
    fun suppressed(place: String): List<String> {
        val rule = Rule(
            numbers[0], numbers[1], numbers[2].toInt(), numbers[3].toInt(), numbers[4] > 0)
        val variances = numbers.drop(5).toFloatArray()
        val corners = decode(floats("${place}codes"), floats("anchors"), variances)
        return suppress(corners, floats("${place}scores"), rule).map { found ->
            val box = (0..3).map { corners[4 * found.box + it].coerceIn(0f, 1f) }
            (box + found.label + found.score).joinToString(" ")
        }
    }
    when (task) {
        "suppress" -> suppressed("").forEach { println(it) }
        "photographs" -> {
            val places = File(folder).listFiles()!!.filter { it.isDirectory }.sorted()
            for (place in places) println(suppressed("${place.name}/").joinToString(";"))
        }
        "resize" -> {
            val sides = numbers.map { it.toInt() }
            val image = floats("argb").map { it.toInt() }.toIntArray()
            val argb = IntArray(image.size / 3) {
                (image[3 * it] shl 16) or (image[3 * it + 1] shl 8) or image[3 * it + 2]
            }
            val from = Size(sides[0], sides[1])
            val to = Size(sides[2], sides[3])
            val seen = if (sides[5] > 0) letterbox(from, to) else Place(0, 0, to.height, to.width)
            val pixels = resized(from, to, numbers[4], seen) { row, line ->
                argb.copyInto(line, 0, row * from.width, (row + 1) * from.width)
            }
            println(pixels.joinToString(" "))
        }
        "letterbox" -> for ((height, width) in numbers.map { it.toInt() }.chunked(2)) {
            val seen = letterbox(Size(height, width), Size(192, 320))
            val top = inImage(0.4f, 192, seen.top, seen.rows)
            val left = inImage(0.4f, 320, seen.left, seen.columns)
            println("${seen.top} ${seen.left} ${seen.rows} ${seen.columns} $top $left")
        }
        "tiles" -> {
            val lines = File(folder, "tiles").readLines().map { line ->
                line.split(" ").map { it.toDouble() }
            }
            val (height, width) = lines[0].map { it.toInt() }
            val rule = lines[1]
            val tiling = Tiling(
                rule[0].toInt(), rule[1].toInt(), rule[2], rule[3] > 0, rule[4], rule[5], rule[6])
            val found = lines.drop(2).map {
                OnTile(it[0].toInt(), it[1].toInt(), it[2].toFloat(), it.drop(3).toDoubleArray())
            }
            val tiles = tilesOf(Size(height, width), tiling)
            println(tiles.joinToString(" ") { it.joinToString(" ") })
            for (one in mergeTiles(tiles, found, tiling, rule[7] > 0)) {
                println((one.box.toList() + one.score.toDouble() + one.label).joinToString(" "))
            }
        }
        "look" -> {
            val (height, width, rows, columns) = numbers.map { it.toInt() }
            val bytes = floats("argb").map { it.toInt() }
            val argb = IntArray(height * width) {
                (bytes[3 * it] shl 16) or (bytes[3 * it + 1] shl 8) or bytes[3 * it + 2]
            }
            val rule = File(folder, "tiling").readText().split(" ").map { it.toDouble() }
            val names = listOf("height", "width", "overlap", "iou_threshold", "smaller_threshold",
                "margin")
            val tiling = names.zip(rule).toMap() + ("whole" to (rule[6] > 0))
            val settings = mapOf<String, Any>("image_size" to listOf(rows, columns),
                "resize" to File(folder, "way").readText()) +
                if (rule[0] > 0) mapOf("tiling" to JSONObject(tiling)) else mapOf()
            val looking = Looking(JSONObject(settings))
            val found = looking.detect(Bitmap(width, height, argb)) { part ->
                val canvas = looking.canvas(part)
                val seen = IntArray(rows * columns)
                canvas.getPixels(seen, 0, columns, 0, 0, columns, rows)
                val whole = part.bitmap()
                check(whole.height == part.size.height && whole.width == part.size.width)
                println(seen.flatMap { listOf(it shr 16 and 255, it shr 8 and 255, it and 255) }
                    .joinToString(" "))
                // The edges alone, and something that all parts show at the same place.
                listOf(RectF(0f, 0f, 1f, 0.01f), RectF(0.3f, 0.4f, 0.6f, 0.7f))
                    .mapIndexed { number, box -> Detection("object $number", 0.5f, box) }
                    .map { looking.inPart(it, part) }.filter(looking::isInside)
            }
            println("found")
            for (one in found) {
                val box = one.box
                println("${box.top} ${box.left} ${box.bottom} ${box.right} ${one.name.last()}")
            }
        }
        "packed" -> for ((name, bytes) in packedFiles(File(folder, "model").readBytes())) {
            println("$name ${bytes.contentHashCode()}")
        }
    }
}
"""


@pytest.fixture(scope="module")
def compiler(tmp_path_factory) -> Path:
    """The folder of the compiler's jars."""
    for program in ("npm", "java"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    folder = tmp_path_factory.mktemp("kotlin")
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", COMPILER]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{COMPILER} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return folder / "node_modules" / "kotlin-compiler"


def compile_kotlin(compiler: Path, sources: list[Path], out: Path) -> str:
    """What the compiler complains about; "" if it all compiles."""
    jars = ":".join(str(jar) for jar in (compiler / "lib").glob("*.jar"))
    main = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
    command = ["java", MEMORY, "-cp", jars, main, "-no-reflect", "-kotlin-home", compiler]
    command += ["-jvm-target", "17", "-d", out, *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode == 0) == ("error:" not in done.stderr), done.stderr
    return "\n".join(line for line in done.stderr.splitlines() if "error:" in line)


def write_stubs(folder: Path):
    """A file for each class of the stubs, and R with the names that the app uses."""
    java = (HERE / "android_stubs.txt").read_text()
    kotlin = "\n".join(path.read_text() for path in APP.rglob("*.kt"))
    used = sorted(set(re.findall(r"\bR\.(\w+)\.(\w+)", kotlin)))
    kinds = {kind: [name for its, name in used if its == kind] for kind, _ in used}
    fields = " ".join(
        f"public static class {kind} {{ public static int {', '.join(names)}; }}"
        for kind, names in kinds.items()
    )
    java += f"\npackage io.github.ssdkeras.detect;\npublic class R {{ {fields} }}\n"
    for block in re.split(r"(?m)^(?=package )", java)[1:]:
        package = re.match(r"package (.+);", block)[1]
        name = re.search(r"^public .*?(?:class|interface|enum) (\w+)", block, re.M)[1]
        path = folder / package.replace(".", "/") / f"{name}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)


@pytest.mark.parametrize("flavor", ["mediapipe", "litert"])
def test_each_flavor_compiles_against_the_published_signatures(compiler, tmp_path, flavor):
    write_stubs(tmp_path / "stubs")
    litert = tmp_path / "stubs" / "Litert.kt"
    litert.write_text((HERE / "litert_stubs.txt").read_text())
    sources = [APP / "main", APP / flavor, tmp_path / "stubs"]
    assert compile_kotlin(compiler, sources, tmp_path / "out") == ""


@pytest.fixture(scope="module")
def run(compiler, tmp_path_factory):
    """`run(task, folder, numbers...)`: what the app's parts print that run without Android."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "Program.kt").write_text(PROGRAM)
    sources = [path for path in APP.rglob("*.kt") if path.name in RUNNING]
    assert len(sources) == len(RUNNING)
    packages = re.split(r"(?m)^(?=package )", (HERE / "android_in_memory.txt").read_text())
    for number, package in enumerate(packages[1:]):
        sources.append(folder / f"InMemory{number}.kt")
        sources[-1].write_text(package)
    assert compile_kotlin(compiler, [*sources, folder / "Program.kt"], folder / "out") == ""

    def run(task: str, place: Path, *numbers: float) -> str:
        jars = f"{folder / 'out'}:{compiler / 'lib' / 'kotlin-stdlib.jar'}"
        command = ["java", MEMORY, "-cp", jars, "ProgramKt", task, place, *map(str, numbers)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return run


def test_a_wrong_name_does_not_compile(compiler, tmp_path):
    """The compiler is one that complains."""
    (tmp_path / "Wrong.kt").write_text("fun wrong(text: String) = text.lenght")
    complaint = compile_kotlin(compiler, [tmp_path / "Wrong.kt"], tmp_path / "out")
    assert "nresolved reference 'lenght'" in complaint


@pytest.mark.parametrize("rule", golden.RULES)
def test_suppression_outside_is_that_of_the_library(run, tmp_path, rule):
    golden.write_raw_outputs(rule, tmp_path)
    printed = run("suppress", tmp_path, *rule_of(tmp_path))
    golden.assert_detections([line.split() for line in printed.splitlines()], rule)


def test_photographs_have_the_detections_of_the_file_with_suppression_inside(run, photographs):
    folder, wanted = photographs
    lines = run("photographs", folder, *rule_of(folder)).splitlines()
    found = [[row.split() for row in line.split(";")] for line in lines]
    golden.assert_photographs(found, wanted)


def rule_of(folder: Path) -> list[float]:
    """The numbers that the program takes, from `rule.json`."""
    rule = json.loads((folder / "rule.json").read_text())
    names = ("score_threshold", "iou_threshold", "max_detections", "max_per_class")
    return [*(rule[name] for name in names), int(rule["class_agnostic"]), *rule["variances"]]


@pytest.mark.parametrize("way", golden.CENTRES)
@pytest.mark.parametrize("name", golden.PHOTOGRAPHS)
def test_the_network_gets_the_pixels_that_the_library_gives_it(run, tmp_path, name, way):
    image = golden.upright(name)
    image.astype(np.float32).tofile(tmp_path / "argb")
    printed = run(
        "resize", tmp_path, *image.shape[:2], *golden.SIZE, golden.CENTRES[way],
        int(way == "letterbox"),
    )  # fmt: skip
    golden.assert_pixels(np.round(np.array(printed.split(), float)), name, way)


def test_pictures_lie_on_the_letterbox_where_the_library_lays_them(run, tmp_path):
    printed = run("letterbox", tmp_path, *np.ravel(golden.SIZES))
    golden.assert_places([line.split() for line in printed.splitlines()])


TILES = Tiling(height=60, width=80, overlap=0.25, whole=True)


@pytest.mark.parametrize("tiling", [None, TILES], ids=["whole", "tiles"])
@pytest.mark.parametrize("way", ["half_pixel", "letterbox"])
def test_images_are_looked_at_as_the_file_says(run, tmp_path, way, tiling):
    image, size = pictures(1, seed=9)[0], (40, 30)
    image.astype(np.float32).tofile(tmp_path / "argb")
    names = ("height", "width", "overlap", "iou_threshold", "smaller_threshold", "margin", "whole")
    rule = [0] * 7 if tiling is None else [float(getattr(tiling, name)) for name in names]
    (tmp_path / "tiling").write_text(" ".join(map(repr, rule)))
    (tmp_path / "way").write_text(way)
    printed = run("look", tmp_path, *image.shape[:2], *size).splitlines()
    split = printed.index("found")
    seen = np.array([line.split() for line in printed[:split]], int).reshape(-1, *size, 3)
    looked_at = []

    def detect(part):
        looked_at.append(np.round(resize(part, size, way)))
        boxes = np.array([[0, 0, 0.01, 1], [0.4, 0.3, 0.7, 0.6]])
        found = Detections(boxes, [0.5, 0.5], [0, 1], ("a", "b"))
        return found.from_canvas(part.shape[:2], size, way)

    wanted = detect(image) if tiling is None else detect_by_tiles(detect, image, tiling)
    assert np.abs(seen - looked_at).max() <= 1
    rows = np.array([line.split() for line in printed[split + 1 :]], float)
    np.testing.assert_array_equal(rows[:, 4], wanted.labels)
    np.testing.assert_allclose(rows[:, :4], wanted.pixels(image), atol=1e-3)


def test_packed_files_are_read(run, tmp_path, float_file):
    (tmp_path / "model").write_bytes(float_file)
    lines = run("packed", tmp_path).splitlines()
    wanted = packed_files(float_file)
    assert lines == [f"{name} {java_hash(content)}" for name, content in wanted.items()]


def java_hash(content: bytes) -> int:
    """java.util.Arrays.hashCode of the bytes."""
    value = 1
    for byte in content:
        value = (31 * value + (byte - 256 if byte > 127 else byte)) & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def test_tiles_are_those_of_the_library(run, tmp_path):
    for case in golden.tile_cases():
        rule = [float(value) for value in case["tiling"].values()] + [case["class_agnostic"]]
        rows = [case["size"], map(float, rule)]
        rows += [[o["tile"], o["label"], o["score"], *o["box"]] for o in case["found"]]
        text = "\n".join(" ".join(map(repr, row)) for row in rows)
        (tmp_path / "tiles").write_text(text)
        tiles, *found = run("tiles", tmp_path).splitlines()
        assert tiles.split() == [str(edge) for tile in case["tiles"] for edge in tile]
        golden.assert_merged([line.split() for line in found], case)
