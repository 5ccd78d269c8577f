"""What the README and the other documents promise: commands, code, links and names."""

import ast
import importlib
import itertools
import re
import shlex
import shutil
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import ssd_keras
from ssd_keras import zoo
from ssd_keras.commands._program import IN_A_CLONE
from ssd_keras.model_table import cells
from tests.data import samples
from tests.deploy.conftest import lively_detector

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_two_bash_blocks_do_the_main_job_and_the_tests():
    blocks = re.findall(r"^```bash\n(.*?)\n```", README, re.M | re.S)
    install = "python3 -m venv .venv && .venv/bin/pip install -e"
    assert blocks[0] == f"{install} . && .venv/bin/python -m experiments.demo"
    assert blocks[1] == f'{install} ".[test]" && .venv/bin/python -m pytest'


# Every program that a document names, and the test that runs it.
RUN_BY = {
    "experiments.check_data": "tests/experiments/test_check_data.py",
    "experiments.compare": "tests/experiments/test_compare.py",
    "experiments.demo": "tests/experiments/test_demo.py",
    "experiments.detect": "tests/experiments/test_detect.py",
    "experiments.evaluate": "tests/experiments/test_evaluate.py",
    "experiments.import_weights": "tests/experiments/test_import_weights.py",
    "experiments.make_records": "tests/experiments/test_check_data.py",
    "experiments.train": "tests/experiments/test_train.py",
    "export.report": "tests/export/test_report.py",
    "export.saved_model": "tests/export/test_saved_model.py",
    "export.tflite": "tests/export/test_tflite.py",
    "detect.py": "tests/export/test_raspberry_pi.py",
    "export/on_device/report.py": "tests/export/test_on_device.py",
    "export/raspberry_pi/detect.py": "tests/export/test_raspberry_pi.py",
    "serve.py": "tests/export/test_web.py",
}
# What tests cannot run, what it needs, and the words by which its document says so.
NEEDS = {
    "gradle": ("a download and a phone", "Android Studio"),
    "./gradlew": ("a download and a phone", "device"),
    "npm": ("a download", "npm install"),
    "pip": ("a download", "pip install"),
    "pre-commit": ("a download", "pre-commit install"),
    "tests.benchmarks": ("an idle machine", "by hand"),
    "--backbone_weights=imagenet": ("a download", "fetches|내려받"),
}
# `pytest` is what runs this.
HARMLESS = ("cd", "source", "export", "pytest")
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "export/*/README.md", "notebooks/*.md")
    for path in ROOT.glob(pattern)
)


def place_of(document: Path) -> str:
    """Where a document lies in the project."""
    return str(document.relative_to(ROOT))


def commands(document: Path) -> list[list[str]]:
    """The commands in the code blocks of a document, as lists of words."""
    text = document.read_text(encoding="utf-8")
    found = []
    for kind, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines() if kind in ("bash", "text") else ():
            for part in line.split(" && "):
                # To a shell, too, only a `#` at the beginning of a word begins a comment.
                words = shlex.split(re.sub(r"(^|\s)#.*", "", part))
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words = words[1:]
                known = {"python", "ssd-keras", *HARMLESS, *NEEDS}
                if words and (Path(words[0]).name in known or words[0] in known or kind == "bash"):
                    found.append(words)
    return found


ALL_COMMANDS = [
    pytest.param(document, words, id=f"{place_of(document)}: {' '.join(words)[:60]}")
    for document in DOCUMENTS
    for words in commands(document)
]


def program_of(words: list[str]) -> str:
    """The module or script that a command starts, or the command itself."""
    if Path(words[0]).name in ("python", "python3"):
        return words[2] if words[1] == "-m" else words[1]
    if words[0] == "ssd-keras":
        return IN_A_CLONE[words[1]]
    return Path(words[0]).name if words[0] != "./gradlew" else words[0]


def test_the_commands_are_found():
    assert len(ALL_COMMANDS) > 12
    assert {document.name for document, _ in (case.values for case in ALL_COMMANDS)} >= {
        "README.md"
    }


@pytest.mark.parametrize(("document", "words"), ALL_COMMANDS)
def test_every_command_is_run_by_a_test_or_says_what_it_needs(document, words):
    program, text = program_of(words), document.read_text(encoding="utf-8")
    if program in HARMLESS or program == "venv":
        return
    for what in (program, ".".join(program.split(".")[:2]), *words[1:]):
        if what in NEEDS:
            assert re.search(NEEDS[what][1], text), f"'{what}' needs {NEEDS[what][0]}: say so"
    if program not in NEEDS and ".".join(program.split(".")[:2]) not in NEEDS:
        assert program in RUN_BY, "name the test that runs it in RUN_BY, or what it needs in NEEDS"
        assert starts(ROOT / RUN_BY[program], program), f"{RUN_BY[program]} does not start it"


def starts(test: Path, program: str) -> bool:
    """Whether a test gives the program's name, its module or its file to a call or to a path."""
    given = []
    for node in ast.walk(ast.parse(test.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            given += [one for arg in node.args for one in getattr(arg, "elts", [arg])]
        elif isinstance(node, ast.BinOp):
            given.append(node.right)
    names = {program, program.rpartition(".")[2], Path(program).name}
    return any(isinstance(one, ast.Constant) and one.value in names for one in given)


@pytest.mark.parametrize(
    ("code", "there"),
    [
        ('end(start("train", "--epochs=1"))', True),
        ('run([sys.executable, "-m", "experiments.train"])', True),
        ('"""The program train."""\nfrom experiments import train\ntrain()', False),
        ('start("detect", f"--out={train}")', False),
    ],
)
def test_a_program_that_is_only_named_is_not_started(tmp_path, code, there):
    (tmp_path / "test.py").write_text(code)
    assert starts(tmp_path / "test.py", "experiments.train") is there


@pytest.mark.parametrize(("document", "words"), ALL_COMMANDS)
def test_every_flag_of_our_programs_exists(document, words):
    program = program_of(words)
    if not program.startswith(("experiments.", "export.", "export/")):
        return
    files = {name: f"ssd_keras/commands/{c}.py" for c, name in IN_A_CLONE.items()}
    path = files.get(program, program).replace("-", "_")
    text = (ROOT / path).read_text(encoding="utf-8")
    for shared in ("_suppression", "_tiles"):
        if f"adopt_module_key_flags({shared})" in text:
            text += (ROOT / f"ssd_keras/commands/{shared}.py").read_text(encoding="utf-8")
    for word in words:
        if word.startswith("--"):
            name = word[2:].partition("=")[0]
            assert f'"{name}"' in text or f'"--{name}"' in text, f"{program} has no flag {word}"


@pytest.mark.parametrize("readme", ["README.md", "README.ko.md"])
def test_the_table_of_models_is_the_measured_one(readme):
    text = (ROOT / readme).read_text(encoding="utf-8")
    columns = ("gmacs", "int8_mb", "int8_ms", "ap", "parameters", "default_boxes")
    for row in zoo.model_table():
        shown = cells(row)
        numbers = " | ".join(shown[key] for key in columns)
        assert f"| `{row['name']}` | {numbers} | {row['maps']} |" in text


def test_the_figures_of_the_export_guide_are_those_of_the_readme():
    guide = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    table = guide.partition("What they lose")[2].partition("Other models")[0]
    figures = set(re.findall(r"0\.\d{3}", table))
    assert len(figures) > 5
    assert figures <= set(re.findall(r"0\.\d{3}", README))


# --- code


def code(document: Path, fence: str) -> list:
    """The blocks of a document with this fence, compiled."""
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(rf"^ *```{fence}\n(.*?)^ *```", text, re.M | re.S)
    return [
        compile(textwrap.dedent(block), f"{place_of(document)}, {fence} block {number}", "exec")
        for number, block in enumerate(blocks, start=1)
    ]


def test_the_code_is_found():
    assert len(code(ROOT / "README.md", "python")) == 4
    assert sum(bool(code(document, "python")) for document in DOCUMENTS) > 1


create = ssd_keras.create


def create_small(name, classes, *, backbone=None, **options):
    """`create`, but the named model is the smallest with its box network."""
    if backbone is not None:
        return create(name, classes, backbone=backbone, **options)
    options = options | {"width": 0.25, "backbone_weights": None}
    return create(f"{zoo.parse(name).box_network}_MobileNet_96", classes, **options)


train = ssd_keras.train


def train_briefly(train_data, *, model=None, **options):
    """`train`, but one epoch of the smallest model with the box network of the named one."""
    box_network = zoo.parse(model or "SSD_MobileNet_300").box_network
    small = {"model": f"{box_network}_MobileNet_96", "width": 0.25, "epochs": 1}
    # Not what has to be fetched.
    return train(train_data, **options | small | {"backbone_weights": "none"})


fit = ssd_keras.Detector.fit


def fit_briefly(self, *args, **options):
    """`fit`, but one step."""
    return fit(self, *args, **options | {"epochs": 1, "steps_per_epoch": 1})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The file of a small detector that finds something in every image."""
    file = tmp_path_factory.mktemp("trained") / "best.keras"
    lively_detector().save(file)
    return file


@pytest.fixture
def workplace(tmp_path, monkeypatch, trained):
    """A folder with what the documents name, where models are small and trainings short."""
    # What lies on the disk goes before published weights of that name.
    for run in ("runs/photos", "runs/ssd", "ssd_mobilenet_v2_coco"):
        (tmp_path / run).mkdir(parents=True)
        shutil.copy(trained, tmp_path / run)
    samples.picture(tmp_path / "new" / "1.jpg", width=160, height=120)
    names = tmp_path / "photos" / "ImageSets" / "Main"
    names.mkdir(parents=True)
    for seed, split in enumerate(("train", "val")):
        stems = [f"{split}{i}" for i in range(8)]
        for stem in stems:
            objects = samples.voc_object() + samples.voc_object("dog", (20, 10, 60, 44))
            samples.voc_image(tmp_path / "photos", stem, objects, seed=seed)
        (names / f"{split}.txt").write_text("\n".join(stems))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ssd_keras, "create", create_small)
    monkeypatch.setattr(ssd_keras, "train", train_briefly)
    monkeypatch.setattr(ssd_keras.Detector, "fit", fit_briefly)
    keras.utils.set_random_seed(0)
    # XLA takes seconds to compile what runs once here.
    tf.config.run_functions_eagerly(True)
    yield tmp_path
    tf.config.run_functions_eagerly(False)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(workplace):
    names = {
        "keras": keras,
        "images": np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype("float32"),
        "boxes": np.array([[[0.1, 0.1, 0.5, 0.6]], [[-1] * 4]], "float32"),
        "labels": np.array([[1], [-1]]),
    }
    for block in code(ROOT / "README.md", "python"):
        exec(block, names)
    assert len(names["found"].names) > 3
    assert names["detector"].box_network.level_maps[0] == (20, 20)


@pytest.mark.slow
@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if d.parent.name == "docs" and code(d, "python")],
    ids=place_of,
)
def test_the_python_of_a_document_runs(document, workplace):
    names = {"__name__": document.stem}
    for block in code(document, "python"):
        exec(block, names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=place_of)
def test_code_that_is_only_shown_compiles(document):
    code(document, "py")


# --- links and names


def prose(document: Path) -> str:
    """The text of a document without its code blocks."""
    text = document.read_text(encoding="utf-8")
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)


def anchors(text: str) -> set[str]:
    """The headings as GitHub links to them."""
    found = set()
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.M):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower())
        name = words.replace(" ", "-")
        repeated = sum(
            re.fullmatch(rf"{re.escape(name)}(-\d+)?", other) is not None for other in found
        )
        found.add(f"{name}-{repeated}" if repeated else name)
    return found


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("# In Python", "in-python"),
        ("## `op` or `builtin`?", "op-or-builtin"),
        ("### int8: what it costs", "int8-what-it-costs"),
        ("## See [the tests](tests/)", "see-the-tests"),
    ],
)
def test_headings_are_linked_to_as_github_does(heading, anchor):
    assert anchors(heading) == {anchor}
    assert anchors(f"{heading}\n{heading}") == {anchor, f"{anchor}-1"}


def broken_links(document: Path) -> list[str]:
    text = prose(document)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(prose(target))):
            broken.append(link)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=place_of)
def test_links_lead_somewhere(document):
    assert broken_links(document) == []


def test_a_broken_link_is_noticed(tmp_path):
    (tmp_path / "a.md").write_text("# One\n[](a.md#one) [](#one) [x](b.md) [y](#two) [](http://x)")
    assert broken_links(tmp_path / "a.md") == ["b.md", "#two"]


FOLDERS = ("docs", "experiments", "export", "notebooks", "ssd_keras", "tests")


def exists(name: str) -> bool:
    """Whether a path of the project, with or without `::test`, or a dotted name is there."""
    path, _, test = name.partition("::")
    if "/" in path:
        found = list(ROOT.glob(path))
        return bool(found) and (not test or f"def {test}(" in found[0].read_text(encoding="utf-8"))
    parts = path.split(".")
    if parts[0] != "ssd_keras":
        return ROOT.joinpath(*parts).with_suffix(".py").exists()
    value = importlib.import_module("ssd_keras")
    for index, part in enumerate(parts[1:], start=2):
        if not hasattr(value, part):
            try:
                importlib.import_module(".".join(parts[:index]))
            except ImportError:
                return False
        value = getattr(value, part)
    return True


def named(document: Path) -> list[str]:
    """What a document names in backticks of the project: paths and dotted names."""
    tokens = re.findall(r"`([^`\n]+)`", prose(document))
    shape = re.compile(rf"({'|'.join(FOLDERS)})(/[\w./*:-]*|(\.[A-Za-z_]\w*)+)(\(.*\))?")
    tokens = [re.sub(r"\(.*\)$", "", token) for token in tokens if shape.fullmatch(token)]
    return [token for token in tokens if not token.endswith(".json")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=place_of)
def test_what_is_named_exists(document):
    assert [name for name in named(document) if not exists(name)] == []


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("ssd_keras/zoo.py", True),
        ("ssd_keras/commands/configs/", True),
        ("tests/boxes/test_*.py", True),
        ("tests/test_readme.py::test_what_is_named_exists", True),
        ("ssd_keras.losses.multibox_loss", True),
        ("ssd_keras.Detector.detect", True),
        ("experiments.train", True),
        ("ssd_keras/zoos.py", False),
        ("tests/test_readme.py::test_that_is_not", False),
        ("ssd_keras.losses.multibocks_loss", False),
        ("ssd_keras.nothing.at_all", False),
        ("export.onnx", False),
    ],
)
def test_names_are_looked_up(name, there):
    assert exists(name) is there


# --- translations

TRANSLATED = {"README.md": "README.ko.md", "docs/guide.md": "docs/guide.ko.md"}


def fenced(text: str) -> list[str]:
    """The code blocks of a document, with the kinds of their fences."""
    return re.findall(r"^ *```\w*\n.*?^ *```", text, re.M | re.S)


def outline(text: str) -> list[str]:
    """The sections of a document: how deep each is, and how many blocks, tables and pictures."""
    bare = re.sub(r"^ *```.*?^ *```", "@", text, flags=re.M | re.S)
    return [
        f"{part.split(' ')[0]} {part.count('@')} blocks, {len(re.findall(r'^[|]', part, re.M))} "
        f"rows, {part.count('![')} pictures"
        for part in re.split(r"^(?=#+ )", bare, flags=re.M)[1:]
    ]


def figures(text: str) -> set[str]:
    """The numbers of a document that are measured or counted: with a point or a comma."""
    return set(re.findall(r"\d[\d,]*\.\d+|\d{1,3}(?:,\d{3})+", text))


def out_of_step(original: str, translation: str, name: str) -> str | None:
    """What to do where a translation is no longer in step, or None."""
    here, there = fenced(original), fenced(translation)
    for number, block in enumerate(here, start=1):
        if number > len(there) or there[number - 1] != block:
            return f"code block {number} of {name} must be, letter by letter:\n{block}"
    if len(there) > len(here):
        return f"{name} has a code block too many:\n{there[len(here)]}"
    for number, (wanted, found) in enumerate(
        itertools.zip_longest(outline(original), outline(translation)), start=1
    ):
        if wanted != found:
            return f"section {number} of {name} must have {wanted}; it has {found}"
    old, new = figures(translation) - figures(original), figures(original) - figures(translation)
    return f"{name} says {sorted(old)} for {sorted(new)}" if old or new else None


@pytest.mark.parametrize(("original", "translation"), TRANSLATED.items())
def test_a_translation_is_in_step(original, translation):
    """Whoever changes a command copies it into the translation."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in (original, translation)]
    problem = out_of_step(*texts, translation)
    assert problem is None, f"{original} was changed and {translation} was not: {problem}"


@pytest.mark.parametrize(
    ("translation", "problem"),
    [
        ("# 하나\n```bash\na\n```\n## 둘\n| x |\n", None),
        ("# 하나\n```bash\nb\n```\n## 둘\n| x |\n", "code block 1 of KO must be"),
        ("# 하나\n## 둘\n| x |\n", "code block 1 of KO must be"),
        ("# 하나\n```bash\na\n```\n## 둘\n| x |\n```\nc\n```\n", "a code block too many"),
        ("# 하나\n```bash\na\n```\n", "section 2 of KO must have ## 0 blocks, 1 rows"),
        ("# 하나\n```bash\na\n```\n## 둘\n", "section 2 of KO must have ## 0 blocks, 1 rows"),
        ("# 하나\n```bash\na\n```\n## 둘 0.27\n| x |\n", "KO says ['0.27'] for []"),
        ("# 하나\n## 둘\n| x |\n```bash\na\n```\n", "section 1 of KO must have # 1 blocks"),
    ],
)
def test_a_translation_that_is_not_in_step_is_noticed(translation, problem):
    original = "# One\n```bash\na\n```\n## Two\n| x |\n"
    found = out_of_step(original, translation, "KO")
    assert found is None if problem is None else problem in found


CLAIMS = (ROOT / "docs/claims.md").read_text(encoding="utf-8")
CLAIM_ROWS = re.findall(r"^\| (.+?) \| (.+?) \| (.*?) ?\|$", CLAIMS, re.M)


def plain_words(text: str) -> str:
    """Without line breaks and emphasis."""
    return " ".join(text.replace("**", "").split())


@pytest.mark.parametrize(
    "claim",
    [
        row[0]
        for row in CLAIM_ROWS
        if row[0] not in ("the README says", "Python", "---") and row[0][:2] != "3."
    ],
)
def test_a_claim_stands_in_the_readme(claim):
    assert plain_words(claim) in plain_words(README)


def test_every_part_of_the_readme_that_claims_has_its_evidence():
    parts = re.findall(r"^## (.+)$", README, re.M)
    without = {"Limits", "Where things are", "Objects in your photographs"}
    claimed = re.findall(r"^## (.+)$", CLAIMS, re.M)
    assert {part.split(",")[0] for part in parts} - without <= set(claimed)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"tests/[\w/]+(?:\.py)?", CLAIMS))))
def test_the_evidence_is_there(path):
    assert (ROOT / path).exists()
