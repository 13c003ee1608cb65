import io

import av
import pytest
from media_samples import moving_clip

from stages.footage import h264


@pytest.mark.parametrize("x264", ["bframes=0", "bframes=3:b-pyramid=none", "bframes=8:b-adapt=0", "bframes=3:slices=3"])
def test_ffmpeg_finds_as_many_references(tmp_path, x264):
    clip = moving_clip(tmp_path / "clip.mp4", [k / 25 for k in range(60)], x264=x264)
    with av.open(io.BytesIO(clip)) as container:
        stream = container.streams.video[0]
        prefix = h264.length_bytes(stream)
        packets = [memoryview(packet) for packet in container.demux(stream) if packet.size]
        found = sum(h264.is_reference(h264.first_bytes(packet, prefix)) for packet in packets)
    with av.open(io.BytesIO(clip)) as container:
        container.streams.video[0].codec_context.skip_frame = "NONREF"
        assert found == sum(1 for _ in container.decode(video=0))
    assert (found < 60) == (x264 != "bframes=0")


def test_units_are_told_by_their_first_bytes():
    assert h264.first_bytes(memoryview(b"\0\2\6\xaa\0\3\1\xbb\xbb"), 2) == [h264.MESSAGE, h264.SLICE]
    assert not h264.is_reference([h264.MESSAGE, h264.SLICE])
    assert all(map(h264.is_reference, ([h264.MESSAGE], [h264.SLICE, 0x41], [0x67, h264.SLICE])))


@pytest.mark.parametrize("packet", [b"", b"\0", bytes(6), b"\0\2\1", b"\0\2\1\xaa\0", b"\0\2\x81\xaa"])
def test_a_packet_that_is_not_as_it_should_be_has_no_units(packet):
    assert h264.first_bytes(memoryview(packet), 2) == []


@pytest.mark.parametrize(("name", "codec"), [("clip.ts", "libx264"), ("clip.avi", "mpeg4"), ("clip.mp4", "mpeg4")])
def test_other_clips_have_no_lengths(tmp_path, name, codec):
    moving_clip(tmp_path / name, [k / 25 for k in range(9)], codec=codec)
    with av.open(str(tmp_path / name)) as container:
        assert h264.length_bytes(container.streams.video[0]) == 0
