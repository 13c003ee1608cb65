"""Videos that are cut, damaged, or shown in part: what is missing is told, and what is whole is not."""

import av
import numpy as np
import pytest
from media_samples import moving_clip
from own_samples import moving, talking, video
from video_files import cut, patched

from stages.footage import videos
from stages.runtime.errors import Rejected

COUNT = 30
TIMES = [k / 25 for k in range(COUNT)]
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
CONTAINERS = {  # name -> codec, options of the container
    "a.mp4": ("libx264", {"movflags": "faststart"}),
    "fragments.mp4": ("libx264", FRAGMENTS),
    "a.mkv": ("libx264", {}),
    "live.webm": ("libvpx", {"live": "1"}),
    "a.ts": ("libx264", {}),
    "a.mpg": ("mpeg2video", {}),
    "a.avi": ("mpeg4", {}),
    "a.flv": ("libx264", {}),
}


def written(path, count=COUNT, codec=""):
    options = {} if codec else CONTAINERS[path.name][1]
    codec = codec or CONTAINERS[path.name][0]
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(
            codec, rate=25, options={"g": "6", "x265-params": "log-level=none"} if codec == "libx265" else {"g": "6"}
        )
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for image in moving(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def until_rejected(path, fps=None):
    """The frames that came before the reason, and the reason."""
    taken, reason = [], ""
    try:
        taken.extend(videos.frames(path, fps))
    except Rejected as rejected:
        reason = str(rejected)
    return taken, reason


def assert_same(taken, whole):
    """Each frame is the one that is shown at its time in the whole video."""
    images = {round(frame.time_s, 3): frame.image for frame in whole}
    for frame in taken:
        assert np.array_equal(frame.image, images[round(frame.time_s, 3)])


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_whole_video_is_whole_and_a_cut_one_is_told(tmp_path, name):
    path = written(tmp_path / name)
    whole, reason = until_rejected(path)
    assert (len(whole), reason) == (COUNT, "")
    for share in (0.9, 0.85):
        taken, reason = until_rejected(cut(path, share))
        assert reason.startswith((f"video is cut short: {len(taken)} frames", f"video is damaged: {len(taken)} frames"))
        assert 0 < len(taken) < COUNT
        assert_same(taken, whole)


def test_a_fragment_whose_header_is_cut_is_told(tmp_path):
    path = written(tmp_path / "fragments.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"moof") + 30])
    assert until_rejected(path)[1].startswith("video is cut short")


def test_a_transport_stream_with_arrival_times_is_told_from_a_cut_one(tmp_path):
    data = written(tmp_path / "a.ts").read_bytes()
    stamped = b"".join(bytes(4) + data[at : at + 188] for at in range(0, len(data), 188))
    (tmp_path / "a.m2ts").write_bytes(stamped)
    assert until_rejected(tmp_path / "a.m2ts")[1] == ""
    (tmp_path / "a.m2ts").write_bytes(stamped[:-1000])
    assert until_rejected(tmp_path / "a.m2ts")[1].startswith("video is cut short")


def without(path, packets):
    """The transport stream without some of its packets, as a bad reception leaves it."""
    data = path.read_bytes()
    kept = [data[at : at + 188] for at in range(0, len(data), 188) if at // 188 not in packets]
    path.write_bytes(b"".join(kept))
    return path


def frame_starts(path, track=0x100):
    """Numbers of the transport packets that begin a frame."""
    data = path.read_bytes()
    heads = [(at // 188, data[at + 1] << 8 | data[at + 2]) for at in range(0, len(data), 188)]
    return [number for number, head in heads if head & 0x4000 and head & 0x1FFF == track]


@pytest.mark.parametrize(
    ("codec", "frame", "packet"),  # within a key frame, and a whole small frame
    [("libx264", 12, 1), ("mpeg2video", 12, 1), ("libx264", 13, 0), ("libx265", 13, 0), ("mpeg2video", 13, 0)],
)
def test_packets_that_were_not_received_are_told_and_no_torn_frame_is_used(tmp_path, codec, frame, packet):
    path = written(tmp_path / "a.ts", codec=codec)
    whole, reason = until_rejected(path)
    assert (len(whole), reason) == (COUNT, "")
    taken, reason = until_rejected(without(path, [frame_starts(path)[frame] + packet]))
    assert reason.startswith(f"video is damaged: {len(taken)} frames")
    assert 0 < len(taken) < COUNT
    assert_same(taken, whole)


def flipped(path, frame):
    """The MP4 with some bits of one frame's data turned over, of which the decoder makes a picture nevertheless."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    position, size = packets[frame]
    data = bytearray(path.read_bytes())
    for at in range(position + size // 2, position + size // 2 + 12, 3):
        data[at] ^= 0x55
    path.write_bytes(data)
    return path


def test_damage_that_the_decoder_conceals_is_told_and_no_torn_frame_is_used(tmp_path):
    path = written(tmp_path / "a.mp4")
    whole, _ = until_rejected(path)
    taken, reason = until_rejected(flipped(path, 7))
    assert reason.startswith(f"video is damaged: {len(taken)} frames")
    assert reason.endswith("are torn and left out")
    assert 0 < len(taken) < COUNT
    assert taken[-1].number == COUNT - 1
    assert_same(taken, whole)
    assert until_rejected(path, fps=25)[1].startswith("video is damaged")
    with pytest.raises(Rejected, match="video is damaged"):
        list(videos.clip_frames(path.read_bytes(), 25.0))


def test_a_video_that_begins_without_a_key_frame_is_told(tmp_path):
    source = written(tmp_path / "a.mp4")
    with av.open(str(source)) as video, av.open(str(tmp_path / "b.mp4"), "w") as container:
        copy = container.add_stream_from_template(video.streams.video[0])
        for packet in list(video.demux(video=0))[1:-1]:
            packet.stream = copy
            container.mux(packet)
    taken, reason = until_rejected(tmp_path / "b.mp4")
    assert reason.startswith(f"video is damaged: {len(taken)} frames")
    assert reason.endswith(f"{COUNT - 1 - len(taken)} are torn and left out")


def test_frames_that_an_edit_list_hides_are_no_loss(tmp_path):
    source = tmp_path / "a.mp4"
    moving_clip(source, TIMES)
    patched(source, b"elst", 8, 800)  # shown for 800 of the 1200 ms
    taken, reason = until_rejected(source)
    assert (len(taken), reason) == (20, "")
    assert [number for number, _ in videos.clip_frames(source.read_bytes(), 5.0)] == [0, 5, 10, 15]


def test_a_file_that_goes_on_behind_its_last_part_is_whole(tmp_path):
    for name in ("a.mp4", "a.mkv"):
        path = written(tmp_path / name)
        path.write_bytes(path.read_bytes() + bytes(1000))
        assert until_rejected(path)[1] == ""


def test_sound_that_is_longer_than_the_video_is_no_loss(tmp_path):
    assert until_rejected(talking(tmp_path / "a.mkv", 5))[1] == ""
    assert until_rejected(talking(tmp_path / "a.ts", 5))[1] == ""


def test_a_large_video_is_read_twice_and_gives_the_same_frames(tmp_path, monkeypatch):
    path = video(tmp_path / "a.mp4", moving(12))
    kept = list(videos.frames(path, 5))
    monkeypatch.setattr("stages.footage.packets.MAX_KEPT_BYTES", 10)
    again = list(videos.frames(path, 5))
    assert [frame[:2] for frame in kept] == [frame[:2] for frame in again] == [(0, 0.0), (5, 0.2), (10, 0.4)]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(kept, again, strict=True))
