"""How far a download is."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from stages.acquisition.registry import Entry

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0


class Meter:
    """Bytes that have arrived, logged every 10 seconds with rate and time left."""

    def __init__(self, entries: Sequence[Entry], clock: Callable[[], float] = time.monotonic) -> None:
        self._files = len(entries)
        self._size = sum(entry.size or 0 for entry in entries)
        self._clock = clock
        self._done = self._bytes = 0
        self._started = self._logged = clock()
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes."""
        with self._lock:
            self._bytes += count
            now = self._clock()
            if now - self._logged >= LOG_INTERVAL_S:
                self._logged = now
                log.info("%s", self.line())

    def file_done(self) -> None:
        """Count a complete file."""
        with self._lock:
            self._done += 1

    def line(self) -> str:
        """One line such as `downloading: 2 of 9 files, 3.1 of 249.0 GB, 21.3 MB/s, 3:12 h left`."""
        rate = self._bytes / max(self._clock() - self._started, 1e-9)
        total = f" of {self._size / 1e9:.1f}" if self._size else ""
        minutes = round((self._size - self._bytes) / rate / 60) if self._size > self._bytes > 0 else 0
        eta = f", {minutes // 60}:{minutes % 60:02d} h left" if self._size > self._bytes > 0 else ""
        return (
            f"downloading: {self._done} of {self._files} files, {self._bytes / 1e9:.1f}{total} GB, "
            f"{rate / 1e6:.1f} MB/s{eta}"
        )
