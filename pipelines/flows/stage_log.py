"""Output of one stage: every line goes to a file, and bundles of lines to a callback."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

INTERVAL_S = 2.0
BUNDLE_CHARS = 20_000  # a longer bundle keeps its end; the file has the rest


class StageLog:
    """Adds lines to `path` and passes them to `on_text`, those of `interval_s` seconds as one text."""

    def __init__(self, path: Path, on_text: Callable[[str], None], *, interval_s: float = INTERVAL_S) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self._on_text = on_text
        self._interval_s = interval_s
        self._lock = threading.Lock()  # guards the bundle
        self._bundle: list[str] = []
        self._timer = threading.Timer(0, lambda: None)

    def add(self, line: str) -> None:
        """Add one line of output, without its line break; the first line of a bundle starts the timer."""
        self._file.write(line + "\n")
        self._file.flush()
        with self._lock:
            self._bundle.append(line)
            if len(self._bundle) == 1:
                self._timer = threading.Timer(self._interval_s, self._flush)
                self._timer.daemon = True
                self._timer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        with self._lock:
            text, self._bundle = "\n".join(self._bundle).strip("\n"), []
            if text:
                self._on_text(text if len(text) <= BUNDLE_CHARS else f"[...]{text[-BUNDLE_CHARS:]}")
