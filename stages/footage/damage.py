"""Which decoded frames show what damage has left behind.

A decoder fills what it cannot read with what it saw before, and goes on; the frames that are predicted from such a
frame are torn as well, until a key frame.
"""

from typing import Any


class Damage:
    """Follows packets into the decoder and frames out of it."""

    def __init__(self) -> None:
        self.frames = 0  # that came out
        self.owed = 0  # that did not, of packets that were decoded and are shown
        self.torn = 0  # of them
        self.missing: list[int | None] = []  # time stamps of packets without a frame
        self._inside: set[int] = set()  # time stamps of packets whose frames have not come out
        self._sound: set[int] = set()  # of those, all that were decoded before the damage
        self._is_torn = False
        self._from: int | None = None  # time stamp of the packet that could not be decoded

    @property
    def left_out(self) -> int:
        """How many frames cannot be used."""
        return self.torn + len(self.missing)

    def sent(self, stamp: int | None, is_shown: bool) -> None:
        """A packet with this time stamp was decoded."""
        self.owed += is_shown
        if stamp is not None:
            self._inside.add(stamp)

    def lost(self, stamp: int | None) -> None:
        """A packet with this time stamp could not be decoded."""
        self.missing.append(stamp)
        if not self._is_torn:
            self._sound = set(self._inside)
        self._is_torn, self._from = True, stamp

    def tears(self, frame: Any) -> bool:
        """Whether the frame is damaged, or predicted from one that is."""
        self.frames, self.owed = self.frames + 1, self.owed - 1
        self._inside.discard(frame.pts)
        if frame.is_corrupt:
            self._is_torn, self._from = True, None
            self._sound.clear()
        elif frame.key_frame and (self._from is None or frame.pts is None or frame.pts >= self._from):
            self._is_torn = False
        is_torn = self._is_torn and frame.pts not in self._sound
        self.torn += is_torn
        return is_torn
