import socket

import av
import numpy as np
import pytest
from media_samples import encoded, moving_clip, noise
from own_samples import sound, video

from stages.footage import videos
from stages.runtime.errors import Rejected

SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {} RTP/AVP 96\na=rtpmap:96 H264/90000\n"


def rejected(path) -> str:
    with pytest.raises(Rejected) as error:
        list(videos.frames(path))
    return str(error.value)


@pytest.mark.parametrize("name", ["a.mp4", "a.txt"])
@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile other.mp4\n", "#EXTM3U\n#EXTINF:1,\nother.mp4\n"])
def test_a_list_of_other_files_is_no_video(tmp_path, name, text):
    moving_clip(tmp_path / "other.mp4", [0.0, 0.04])
    (tmp_path / name).write_text(text)
    assert rejected(tmp_path / name).startswith("unreadable video")


def test_a_description_of_a_stream_opens_no_port(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1] // 2 * 2
    (tmp_path / "a.mp4").write_text(SDP.format(port))
    assert rejected(tmp_path / "a.mp4").startswith("unreadable video")


def with_cover(path):
    """A song with a picture of its cover."""
    plain = sound(path.with_name("plain.mp4"))
    with av.open(str(plain)) as song, av.open(str(path), "w") as container:
        track = container.add_stream_from_template(song.streams.audio[0])
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        packets = [*cover.encode(av.VideoFrame.from_ndarray(noise(64, 64), format="rgb24")), *cover.encode()]
        for packet in packets:
            packet.pts = packet.dts = 0
            container.mux(packet)
        for packet in song.demux(audio=0):
            if packet.dts is not None:
                packet.stream = track
                container.mux(packet)
    return path


def test_the_cover_of_a_song_is_no_video(tmp_path):
    assert rejected(with_cover(tmp_path / "a.mp4")) == "no video stream"


def test_text_in_another_encoding_than_utf8_is_no_obstacle(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        container.metadata["title"] = "GOOD TITLE"
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    data = (tmp_path / "a.mkv").read_bytes()
    assert b"GOOD TITLE" in data
    (tmp_path / "a.mkv").write_bytes(data.replace(b"GOOD TITLE", b"B\xe9\xff TITLE "))
    assert len(list(videos.frames(tmp_path / "a.mkv"))) == 1


def test_a_video_that_nothing_decodes_is_rejected(tmp_path):
    data = video(tmp_path / "a.mp4", [noise(64, 64)] * 2).read_bytes()
    (tmp_path / "a.mp4").write_bytes(data.replace(b"avc1", b"zzzz", 2))
    assert rejected(tmp_path / "a.mp4") in ("no video stream", "unreadable video: there is no decoder for it")


def test_an_image_under_the_name_of_a_video_is_rejected(tmp_path):
    (tmp_path / "a.mp4").write_bytes(encoded(noise(64, 64)))
    assert rejected(tmp_path / "a.mp4").startswith("unreadable video")
