"""The report, served on loopback beside Prefect's UI: a browser refuses links from a served page to a file."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.running.surroundings import LOOPBACK

URL = "pages_url"  # Prefect variable that tells runs where the pages are


@contextmanager
def served(pages: Mapping[str, Path]) -> Iterator[str]:
    """URL below which the HTML files of `pages`, and nothing else, are served by name while the block runs."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in LOOPBACK:
                self.send_error(HTTPStatus.BAD_REQUEST, "this server is called by another name")
                return
            path = pages.get(self.path.removeprefix("/"))
            if path is None or not path.is_file():
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            content = path.read_bytes()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
