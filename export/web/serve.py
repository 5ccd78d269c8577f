"""Serves this folder on this machine, with the headers that let the browser use threads.

python serve.py [--port=8000]
"""

from __future__ import annotations

import argparse
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder, isolated from other origins: browsers ask that of pages with threads."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".tflite": "application/octet-stream",
    }

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def main():
    parser = argparse.ArgumentParser(description="Serves the detection page.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    if not (FOLDER / "node_modules").is_dir():
        raise SystemExit(f"error: the runtime is missing: run 'npm install' in {FOLDER} first.")
    with ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=FOLDER)) as server:
        print(f"http://localhost:{port}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
