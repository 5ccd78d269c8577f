"""Serves the page on this machine, with the headers that let the browser use threads.

python serve.py [--port=8000] [--host=127.0.0.1]

It gives away what the page needs and the .tflite files beside it, and nothing else; and only to
those who ask for this machine by its own name, so that no page of another site can read them by
giving this machine a name of its own.
"""

from __future__ import annotations

import argparse
import errno
import os
import stat
import sys
import urllib.parse
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
RUNTIME = "node_modules/@litertjs"
PAGE = frozenset(
    (
        "index.html",
        "page.css",
        "page.js",
        "detector.js",
        "pixels.js",
        "packed_files.js",
        "suppression.js",
        "tiles.js",
        f"{RUNTIME}/core/dist/index.js",
        f"{RUNTIME}/wasm-utils/dist/index.js",
        *(
            f"{RUNTIME}/core/wasm/litert_wasm_{variant}internal.{ending}"
            for variant in ("", "compat_", "jspi_", "threaded_")
            for ending in ("js", "wasm")
        ),
    )
)
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder, isolated from other origins: browsers ask that of pages with threads."""

    # Those who connect and then say nothing do not keep a thread for ever.
    timeout = 60
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".tflite": "application/octet-stream",
    }

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def send_head(self):
        """Answers HEAD, and GET but for the content, which is the file that is returned."""
        if not self.is_for_this_machine():
            self.send_error(HTTPStatus.FORBIDDEN, "This server answers to its own name only")
            return None
        name = name_of(self.path)
        file = name and open_served(Path(self.directory), name)
        if not file:
            self.send_error(HTTPStatus.NOT_FOUND, "Not a file of this page")
            return None
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", self.guess_type(name))
        self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
        self.end_headers()
        return file

    def is_for_this_machine(self) -> bool:
        """Whether the browser knows this server by its own name or address."""
        given = self.headers.get_all("Host", [])
        address = self.connection.getsockname()[0]
        names = (*LOCAL_NAMES, f"[{address}]" if ":" in address else address)
        port = self.server.server_port
        return len(given) == 1 and given[0].strip().lower() in {
            host for name in names for host in (name, f"{name}:{port}")
        }


def name_of(target: str) -> str | None:
    """The file that a request asks for, by its name in the folder; None if it cannot be one."""
    path = target.partition("?")[0].partition("#")[0]
    try:
        name = urllib.parse.unquote(path, errors="strict").removeprefix("/") or "index.html"
    except UnicodeDecodeError:
        return None
    is_model = name.endswith(".tflite") and not name.startswith(".")
    if name in PAGE or (is_model and name.isprintable() and not set(name) & set("/\\:")):
        return name
    return None


def open_served(folder: Path, name: str):
    """The file, opened; None if there is none, it is none, or it lies elsewhere."""
    folder = Path(os.path.realpath(folder))
    path = Path(os.path.realpath(folder / name))
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        # Pipes and devices are not even opened.
        if not path.is_relative_to(folder) or not stat.S_ISREG(os.stat(path).st_mode):
            return None
        return os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb")
    except (OSError, ValueError):
        return None


class Server(ThreadingHTTPServer):
    """Does not make a fuss about browsers that go away."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def make_server(host: str, port: int, folder: Path = FOLDER) -> Server:
    """The server, which listens already.

    Raises:
        OSError: the port is in use, or not for everybody; or the address is not this machine's.
    """
    return Server((host, port), partial(Handler, directory=folder))


def main():
    parser = argparse.ArgumentParser(description="Serves the detection page.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="127.0.0.1", help="an address of this machine")
    arguments = parser.parse_args()
    if not (FOLDER / "node_modules").is_dir():
        raise SystemExit(f"error: the runtime is missing: run 'npm install' in {FOLDER} first.")
    try:
        server = make_server(arguments.host, arguments.port)
    except (OSError, OverflowError) as error:
        raise SystemExit(f"error: {explain(error, arguments.host, arguments.port)}") from error
    with server:
        everywhere = arguments.host in ("0.0.0.0", "::")
        host = "localhost" if everywhere or arguments.host == "127.0.0.1" else arguments.host
        others = "  (from elsewhere: the address of this machine)" if everywhere else ""
        print(f"http://{host}:{server.server_port}/{others}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def explain(error: Exception, host: str, port: int) -> str:
    """What to do if the server cannot listen."""
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        return f"port {port} is in use, perhaps by this server: give another, --port={port + 1}."
    if isinstance(error, PermissionError):
        return f"port {port} is not for everybody: give one from 1024, such as --port=8000."
    if isinstance(error, OverflowError):
        return f"there is no port {port}: give one from 1024 to 65535, such as --port=8000."
    reason = getattr(error, "strerror", None) or error
    return f"'{host}' port {port} cannot be listened to: {reason}."


if __name__ == "__main__":
    sys.exit(main())
