"""The synthetic releases served over HTTP on this machine, so that `source: http` can be tried from end to end.

`python -m pipelines.serve_synthetic` renders the releases that are missing, then serves http://127.0.0.1:8765/<dataset>/<file>,
with a registry.txt for each data set, until it is stopped. FABNET_MIRROR=http://127.0.0.1:8765 makes `fetch` use it.
It cannot be reached from other machines. Images that a release lists by URL are served but not in the registry.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

from stages.acquisition import digests, links, online, rendered
from stages.acquisition.digests import DigestCache
from stages.acquisition.registry import Entry
from stages.runtime import command, plugins
from stages.runtime.params import Params

log = logging.getLogger(__name__)

PORT = 8765
HOST = "SYNTHETIC"
_CHUNK = 2**18
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Item:
    """What is served at one path."""

    content: Path | bytes
    etag: str

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def run(*, journal: Path = Path(".journal"), params: Params) -> None:
    """Serve every data set of `params` that has a synthetic release, until the user stops it.

    Raises:
        UserError: a publisher's settings are wrong.
    """
    items: dict[str, Item] = {}
    for dataset in served(params):
        release = rendered.release("serve", dataset, journal, params.dataset[dataset].synthetic, params.synthetic.seed)
        items |= items_of(dataset, release, journal / "serve" / f"{dataset}.json")
    with listening(items, PORT) as server:
        log.info("serving %d files; in another terminal: export FABNET_MIRROR=%s", len(items), root_url(server))
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log.info("no longer serving")


def served(params: Params) -> list[str]:
    """The data sets of `params` that can be rendered."""
    rendered_sets = plugins.names("stages.synthetic")
    return [name for name in params.datasets if name in rendered_sets]


def items_of(dataset: str, release: Path, memory: Path) -> dict[str, Item]:
    """Every file of a release and its registry, by path below the server's root."""
    files = links.files(release, [], f"the synthetic release of {dataset} is empty")
    hashes = digests.sha256_of_all(files, DigestCache(memory), f"serve {dataset}")
    module = plugins.load("stages.datasets", dataset)
    by_url = {name for name, _ in module.image_urls(files)} if hasattr(module, "image_urls") else set[str]()
    entries = [
        Entry(name, path.stat().st_size, f"sha256:{hashes[name]}", HOST)
        for name, path in files.items()
        if name not in by_url
    ]
    index = "".join(f"{entry.line()}\n" for entry in entries).encode()
    items = {f"/{dataset}/{quote(name)}": Item(path, f'"{hashes[name]}"') for name, path in files.items()}
    return items | {f"/{dataset}/{online.INDEX}": Item(index, "")}


def listening(items: Mapping[str, Item], port: int) -> ThreadingHTTPServer:
    """A server on the loopback interface for `items`, by quoted path; port 0 takes any free one."""
    handler = type("Handler", (_Handler,), {"items": dict(items)})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    return server


def root_url(server: ThreadingHTTPServer) -> str:
    """The URL below which the server serves."""
    return f"http://127.0.0.1:{server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    items: Mapping[str, Item]

    def do_GET(self) -> None:
        item = self.items.get(quote(unquote(self.path)))
        if item is None:
            self.send_error(404)
            return
        part = self._range(item)
        start, end = part or (0, item.size - 1)
        if part and start > end:
            self.send_error(416)
            return
        self.send_response(206 if part else 200)
        if part:
            self.send_header("Content-Range", f"bytes {start}-{end}/{item.size}")
        self.send_header("Content-Length", str(end - start + 1))
        if item.etag:
            self.send_header("ETag", item.etag)
        self.end_headers()
        self._send(item, start, end - start + 1)

    def log_message(self, format: str, *args: object) -> None:
        """One line per image would bury everything else."""

    def _range(self, item: Item) -> tuple[int, int] | None:
        """First and last byte that the client asks for; None for the whole file or for another version of it."""
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None or self.headers.get("If-Range", item.etag) != item.etag:
            return None
        return int(match[1]), min(int(match[2] or item.size - 1), item.size - 1)

    def _send(self, item: Item, start: int, count: int) -> None:
        if isinstance(item.content, bytes):
            self.wfile.write(item.content[start : start + count])
            return
        with item.content.open("rb") as file:
            file.seek(start)
            while count > 0 and (chunk := file.read(min(_CHUNK, count))):
                self.wfile.write(chunk)
                count -= len(chunk)


if __name__ == "__main__":
    command.main(run, __doc__)
