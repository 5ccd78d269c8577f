"""A server on this machine that stands for those who publish weights, and does what goes wrong."""

import contextlib
import http.server
import threading


class Publisher:
    """Serves `content` under any path, the first times as `faults` say, and counts what was asked.

    Each fault is taken once, in order: "cut" ends the connection in the middle, "missing",
    "busy", "elsewhere" (a redirect to `elsewhere`), "endless", "long" and "short" state another
    length, "silent" and "chunked" no length, "whole" ignores what part was asked for, "shifted"
    gives another part.
    """

    def __init__(self, content: bytes, faults=(), elsewhere="", tag='"a-tag"'):
        self.content, self.faults, self.elsewhere, self.tag = content, list(faults), elsewhere, tag
        self.asked: list[str | None] = []

    @contextlib.contextmanager
    def open(self):
        """Gives its address."""
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.close_connection = True
                with contextlib.suppress(OSError):
                    publisher.answer(self)

            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, request):
        """Answers one request."""
        asked = request.headers.get("Range")
        self.asked.append(asked)
        fault = self.faults.pop(0) if self.faults else ""
        if fault in ("missing", "busy", "elsewhere"):
            self._answer_without_content(request, fault)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        unchanged = request.headers.get("If-Range") in (None, self.tag)
        if start >= len(self.content) and unchanged:
            request.send_error(416)
            return
        start = 0 if fault == "whole" or not unchanged else start
        self._send(request, start, fault)

    def _answer_without_content(self, request, fault):
        request.send_response({"missing": 404, "busy": 503, "elsewhere": 302}[fault])
        if fault == "elsewhere":
            request.send_header("Location", self.elsewhere)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _send(self, request, start, fault):
        body = self.content[start:]
        request.send_response(206 if start else 200)
        if start:
            first, size = start + (fault == "shifted"), len(self.content)
            request.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        if self.tag:
            request.send_header("ETag", self.tag)
        if fault in ("chunked", "endless"):
            request.send_header("Transfer-Encoding", "chunked")
        elif fault != "silent":
            more = {"long": 1000, "short": -1000}.get(fault, 0)
            request.send_header("Content-Length", str(len(body) + more))
        request.end_headers()
        if fault == "cut":
            request.wfile.write(body[: len(body) // 2])
        elif fault in ("chunked", "endless"):
            self._send_chunks(request.wfile, body, fault)
        else:
            request.wfile.write(body)

    def _send_chunks(self, out, body, fault):
        chunk = b"%x\r\n%s\r\n" % (len(body), body)
        out.write(chunk)
        while fault == "endless":
            out.write(chunk)
        out.write(b"0\r\n\r\n")
