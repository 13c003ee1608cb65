"""Who appears where. Names of data set and part enter every seed, so nobody appears in two of them."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stages.synthetic.studio import anatomy, identity
from stages.synthetic.studio.expression import EMOTIONS
from stages.synthetic.studio.identity import Identity
from stages.synthetic.studio.seeds import generator

VIDEOS = 2  # of each person, as far as there are as many tracks


@dataclass(frozen=True)
class Track:
    """One utterance of one person, in the light of its video."""

    who: Identity
    key: tuple[int | str, ...]  # seed of everything that moves
    video_id: str
    utterance: int  # 1, 2, ... within the video
    emotion: str


def tracks(seed: int, dataset: str, person: int, count: int) -> Iterator[Track]:
    """`count` utterances, dealt to two videos that differ in light, sorted by video."""
    who = identity.draw(generator(seed, dataset, person))
    emotions = list(EMOTIONS)
    for video in range(min(VIDEOS, count)):
        lit = replace(who, light=anatomy.draw_light(generator(seed, dataset, person, video, "light")))
        for track in range(video, count, VIDEOS):
            key = (seed, dataset, person, track)
            emotion = emotions[int(generator(*key, "emotion").integers(len(emotions)))]
            yield Track(lit, key, _video_id(seed, dataset, person, video), track // VIDEOS + 1, emotion)


def gender(seed: int, dataset: str, person: int) -> str:
    """A letter for the owners' column: the rendered heads have none."""
    return "mf"[int(generator(seed, dataset, person, "gender").integers(2))]


def _video_id(*key: int | str) -> str:
    """11 letters, as the owners use YouTube's."""
    digest = hashlib.sha256("/".join(map(str, ("video", *key))).encode()).digest()
    return base64.urlsafe_b64encode(digest)[:11].decode()
