"""Face tracks of each person of a video data set: identity, video, utterance and emotion.

The data set's name is part of every seed, so no identity appears in two data sets.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stages.synthetic.renderer import appearance, identity
from stages.synthetic.renderer.expression import EMOTIONS
from stages.synthetic.renderer.identity import Identity
from stages.synthetic.renderer.seeds import generator

VIDEOS = 2  # of each person, if there are at least as many tracks


@dataclass(frozen=True)
class Track:
    """One utterance of one person, in the light of its video."""

    person: Identity
    key: tuple[int | str, ...]  # of the random stream of the clip
    video_id: str
    utterance: int  # 1, 2, ... within the video
    emotion: str


def of_person(seed: int, dataset: str, number: int, count: int) -> Iterator[Track]:
    """`count` tracks of person `number`, spread over two videos with different light, sorted by video."""
    person = identity.draw(generator(seed, dataset, number))
    emotions = list(EMOTIONS)
    for video in range(min(VIDEOS, count)):
        lit = replace(person, light=appearance.draw_light(generator(seed, dataset, number, video, "light")))
        for track in range(video, count, VIDEOS):
            key = (seed, dataset, number, track)
            emotion = emotions[int(generator(*key, "emotion").integers(len(emotions)))]
            yield Track(lit, key, _video_id(seed, dataset, number, video), track // VIDEOS + 1, emotion)


def gender(seed: int, dataset: str, number: int) -> str:
    """A random letter, m or f, for the owners' metadata column; the synthetic faces have no gender."""
    return "mf"[int(generator(seed, dataset, number, "gender").integers(2))]


def _video_id(*key: int | str) -> str:
    """11 characters, like the YouTube ids in the owners' releases."""
    digest = hashlib.sha256("/".join(map(str, ("video", *key))).encode()).digest()
    return base64.urlsafe_b64encode(digest)[:11].decode()
