"""Limits of what is read and downloaded from strangers: the section `limits` of params.yaml, or these defaults.

They hold in the whole process, from the stage's start on, and are handed to every process that works for it. They are
no part of what a result is made of: whoever raises one gets the same bytes, and more of them where something was
refused before. So they stand in no digest of a configuration, and DVC runs nothing expensive again for them.
"""

from dataclasses import dataclass

MIB, GIB = 2**20, 2**30


@dataclass(frozen=True)
class Limits:
    """What an item may take. Bounds of each: `stages.runtime.params.LimitsParams`."""

    file_mib: float = 256  # one image or clip as it is stored, also as a member of an archive
    image_mpx: float = 90  # pixels of one image, in millions: no decoder takes more than 1 GB for them
    video_s: float = 1800  # of a video; what comes later is not read
    list_mib: float = 512  # a list or table of annotations, of which three times as much is in memory
    expansion: float = 200  # an unpacked archive, as a multiple of itself: images hardly shrink, lists ten times
    process_s: float = 5.0  # computing, for one file whose library has a process of its own
    process_mib: float = 1024  # memory, for the same
    download_gib: float = 100  # a file whose size the owner does not publish
    linked_mib: float = 20  # an image that a release lists by its URL
    linked_s: float = 60.0  # from the first byte of such an image to its last
    answer_s: float = 120.0  # from a request to the end of the answer's headers, however slowly they drip
    stall_s: float = 60.0  # of a download without a single byte

    @property
    def file_bytes(self) -> int:
        """Of one image or clip."""
        return int(self.file_mib * MIB)

    @property
    def image_pixels(self) -> int:
        """Of one image."""
        return int(self.image_mpx * 1e6)

    @property
    def list_bytes(self) -> int:
        """Of a list or table."""
        return int(self.list_mib * MIB)

    @property
    def process_bytes(self) -> int:
        """Of memory, beyond what a process has at its start."""
        return int(self.process_mib * MIB)


_now = Limits()


def now() -> Limits:
    """Those that hold in this process."""
    return _now


def use(limits: Limits) -> None:
    """Let these hold from now on."""
    global _now  # noqa: PLW0603  as a time zone or a locale: what reads a file is many calls below who reads params.yaml
    _now = limits
