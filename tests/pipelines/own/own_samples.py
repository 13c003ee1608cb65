"""Videos and images as users have them, and the command line on them."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from media_samples import drawn_faces

from pipelines import cli
from stages.synthetic.renderer import clip, identity, render
from stages.synthetic.renderer.background import draw_background
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.seeds import generator

FACE = (160, 120, 130)  # centre x, y and side of a head that dlib finds
TWO = ((100, 120, 130), (300, 130, 160))
UPRIGHT, CLOCKWISE = (1, 0, 0, 1), (0, 1, -1, 0)


def moving(count: int) -> list[np.ndarray]:
    """One head that moves to the right, 2 px a frame, (240, 320, 3) each."""
    return [drawn_faces(320, 240, (FACE[0] - 40 + 2 * k, *FACE[1:])) for k in range(count)]


def crossing(count: int) -> Iterator[np.ndarray]:
    """Two rendered people who change places, (240, 480, 3) each; one passes in front of the other, who is hidden."""
    people = []
    for number, (start, end) in enumerate([(90, 390), (390, 90)]):
        rng = generator("crossing", number)
        person, camera = identity.draw(rng), Camera(480, 240, (0.0, 130.0), 60.0)
        states = clip.draw_states(rng, emotion="neutral", frames=count, camera=camera)
        people.append((person, rng, states, np.linspace(start, end, count)))
    background = draw_background(generator("crossing", "room"), 240, 480)
    for k in range(count):
        image = background
        for person, rng, states, x in people:
            state = states[k]
            centre = (state.camera.centre_xy_px[0] + x[k], state.camera.centre_xy_px[1])
            camera = replace(state.camera, centre_xy_px=centre)
            image = render.frame(person, image, state.au, state.pose, camera, rng=rng).image
        yield np.ascontiguousarray(image[..., ::-1])


def video(
    path: Path, images: Sequence[np.ndarray], times_s: Sequence[float] | None = None, codec: str = "libx264"
) -> Path:
    """The images at 25 frames a second, or at the given times."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p" if codec == "libx264" else "bgr0"
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = round(1000 * (number / 25 if times_s is None else times_s[number]))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turned(source: Path, matrix: tuple[int, int, int, int]) -> Path:
    """The same file with another display matrix (a, b, c, d) in its track header, as phones write it."""
    data = source.read_bytes()
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    source.write_bytes(data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[at + 36 :])
    return source


def sound(path: Path) -> Path:
    """A file with sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def talking(path: Path, count: int, first_s: float = 0.0, codec: str = "aac") -> Path:
    """`moving`, whose images begin at `first_s`, with a second of a rising tone from 0."""
    tone = np.sin(np.linspace(0, 60, 16_000) ** 2).astype(np.float32)[None]
    with av.open(str(path), "w") as container:
        images = container.add_stream("libx264", rate=25)
        images.height, images.width, images.pix_fmt = 240, 320, "yuv420p"
        track = container.add_stream(codec, rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        for piece in av.AudioResampler("fltp", "mono", 16_000, frame_size=1024).resample(frame):
            container.mux(track.encode(piece))
        container.mux(track.encode())
        for number, image in enumerate(moving(count)):
            shown = av.VideoFrame.from_ndarray(image, format="rgb24")
            shown.pts, shown.time_base = number + round(25 * first_s), Fraction(1, 25)
            container.mux(images.encode(shown))
        container.mux(images.encode())
    return path


def image_file(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])
    return path


def fabnet(*arguments: object) -> int:
    """Exit status of `fabnet ...`, run in this process."""
    return cli.run(list(map(str, arguments)))
