"""The web page's server gives away the page and the models beside it, and only to this machine."""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading

import pytest

from tests import mutations
from tests.conftest import ROOT
from tests.export.conftest import load_script

WEB = ROOT / "export" / "web"


@pytest.fixture(scope="module")
def serve():
    return load_script(WEB / "serve.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page with a stand-in for its runtime, models, and what is nobody's business."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.tflite").write_text("secret")
    folder = tmp_path_factory.mktemp("web")
    for path in WEB.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    core = folder / "node_modules" / "@litertjs" / "core"
    for name in ("dist/index.js", "wasm/litert_wasm_internal.wasm", "package.json", "README.md"):
        (core / name).parent.mkdir(parents=True, exist_ok=True)
        (core / name).write_text(name)
    (folder / "pets.tflite").write_bytes(b"a model")
    (folder / "내 모델 100%.tflite").write_bytes(b"another model")
    (folder / ".hidden.tflite").write_text("secret")
    (folder / "notes.txt").write_text("secret")
    (folder / "link.tflite").symlink_to(outside / "secret.tflite")
    (folder / "outside").symlink_to(outside)
    (folder / "inner.tflite").symlink_to("pets.tflite")
    (folder / "folder.tflite").mkdir()
    for kind in ("a FIFO", "an endless device", "a link to itself"):
        mutations.put_in_place(folder / f"{kind}.tflite", kind)
    return folder


@pytest.fixture(scope="module")
def server(serve, folder):
    class Quiet(serve.Handler):
        def log_message(self, *_):
            pass

    with serve.Server(("127.0.0.1", 0), lambda *given: Quiet(*given, directory=folder)) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def ask(server):
    """`ask(method, path, **headers)`: status, headers and content."""

    def ask(method: str, path: str, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            for one in [value] if isinstance(value, str) else value:
                connection.putheader(name, one)
        connection.endheaders()
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers, content

    return ask


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/index.html?model=pets.tflite#top", "text/html"),
        ("/page.js", "text/javascript"),
        ("/page.css", "text/css"),
        ("/node_modules/@litertjs/core/dist/index.js", "text/javascript"),
        ("/node_modules/%40litertjs/core/wasm/litert_wasm_internal.wasm", "application/wasm"),
        ("/pets.tflite", "application/octet-stream"),
        ("/inner.tflite", "application/octet-stream"),
        ("/%EB%82%B4%20%EB%AA%A8%EB%8D%B8%20100%25.tflite", "application/octet-stream"),
    ],
)
def test_what_the_page_needs_is_served(ask, path, kind):
    status, headers, content = ask("GET", path)
    assert (status, headers["Content-Type"]) == (200, kind)
    assert int(headers["Content-Length"]) == len(content) > 0
    # With these browsers give a page threads.
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_every_file_that_the_page_loads_is_on_the_list(serve):
    import json
    import re

    texts = [(WEB / name).read_text(encoding="utf-8") for name in serve.PAGE if "/" not in name]
    named = {
        name
        for text in texts
        for name in re.findall(
            r"(?:from|href=|src=|: )[ ]?['\"](?:\./)?([\w@/.-]+\.(?:js|css))", text
        )
    }
    assert len(named) >= 7
    assert named <= serve.PAGE
    versions = json.loads((WEB / "package.json").read_text())["dependencies"]
    assert {f"node_modules/{name}/dist/index.js" for name in versions} <= serve.PAGE


@pytest.mark.parametrize(
    "path",
    [
        "/serve.py",
        "/package.json",
        "/README.md",
        "/notes.txt",
        "/node_modules/",
        "/node_modules/@litertjs/core/package.json",
        "/node_modules/@litertjs/core/dist/../package.json",
        "/.hidden.tflite",
        "/link.tflite",
        "/outside/secret.tflite",
        "/outside%2Fsecret.tflite",
        "/folder.tflite",
        "/a%20FIFO.tflite",
        "/an%20endless%20device.tflite",
        "/a%20link%20to%20itself.tflite",
        "/missing.tflite",
        "/%00",
        "/pets.tflite%00",
        "/%00.tflite",
        "/..",
        "/../",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%252e%252e/etc/passwd",
        "/..%5c..%5csecret.tflite",
        "/....//x.tflite",
        "/%c0%ae%c0%ae/x.tflite",
        "/%ff.tflite",
        "/%0d%0aSet-Cookie:%20a=b.tflite",
        "/C:/secret.tflite",
        "/" + "x" * 300 + ".tflite",
        "/" + "x" * 60_000 + ".tflite",
        "/" + "a/" * 20_000,
        "http://evil.example/pets.tflite",
        "*",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nothing_else_is(ask, method, path):
    status, _, content = ask(method, path, Host="localhost")
    assert status == 404
    assert b"secret" not in content


def test_too_long_an_address(ask):
    assert ask("GET", "/" + "x" * 70_000)[0] == 414


def test_head_is_the_same_without_the_content(ask):
    status, headers, content = ask("HEAD", "/pets.tflite")
    assert (status, headers["Content-Length"], content) == (200, "7", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "X"])
def test_other_methods_are_refused(ask, method):
    assert ask(method, "/pets.tflite", **{"Content-Length": "0"})[0] == 501


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "LOCALHOST", "[::1]"])
@pytest.mark.parametrize("with_port", [True, False])
def test_the_machine_goes_by_its_own_names(ask, server, name, with_port):
    host = f"{name}:{server.server_port}" if with_port else name
    assert ask("GET", "/pets.tflite", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:PORT",
        "localhost.evil.example:PORT",
        "evil.localhost:PORT",
        "127.0.0.1.evil.example",
        "localhost:1",
        "localhost:PORT:PORT",
        "localhost@evil.example",
        "192.168.0.1:PORT",
        "",
        ["localhost", "evil.example"],
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_names_are_those_of_other_sites(ask, server, method, host):
    if isinstance(host, str):
        host = host.replace("PORT", str(server.server_port))
    status, _, content = ask(method, "/pets.tflite", Host=host)
    assert status == 403
    assert b"a model" not in content


def test_a_request_without_a_name_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(b"GET /pets.tflite HTTP/1.0\r\n\r\n")
        assert b" 403 " in connection.makefile("rb").readline()


def test_nonsense_does_not_end_it(server, ask):
    for line in (
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01" * 99,
    ):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            connection.makefile("rb").read()
    assert ask("GET", "/")[0] == 200


def test_it_listens_to_this_machine_alone_unless_told(serve):
    with serve.make_server("127.0.0.1", 0) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"
    text = (WEB / "serve.py").read_text()
    assert '"--host", default="127.0.0.1"' in text


def run(folder, *flags) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, folder / "serve.py", *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--port=TAKEN"], "port TAKEN is in use, perhaps by this server: give another, --port="),
        (["--port=65536"], "there is no port 65536: give one from 1024 to 65535"),
        (["--port=-1"], "there is no port -1"),
        (["--host=999.1.1.1"], "'999.1.1.1' port 8000 cannot be listened to: "),
        (["--host=192.0.2.1"], "'192.0.2.1' port 8000 cannot be listened to: "),
    ],
)
def test_places_where_it_cannot_listen_are_one_sentence(server, folder, flags, message):
    taken = str(server.server_port)
    done = run(folder, *(flag.replace("TAKEN", taken) for flag in flags))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message.replace('TAKEN', taken)}")
    assert done.stderr.count("\n") == 1


def test_a_missing_runtime_is_one_sentence(tmp_path):
    shutil.copy(WEB / "serve.py", tmp_path)
    done = run(tmp_path)
    assert done.stderr == (
        f"error: the runtime is missing: run 'npm install' in {tmp_path} first.\n"
    )
