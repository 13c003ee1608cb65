import pickle

import pytest
from releases import bring, frame_members, put, tar_gz, voxceleb1, voxceleb2, zip_bytes

from stages.datasets import voxceleb1 as one
from stages.datasets import voxceleb2 as two
from stages.releases import readers
from stages.releases.readers import Clip, Frames, Reject, Track
from stages.runtime.errors import UserError

NAMES = ["A.J._Buckley", "Zoë_Name"]
CLIPS = {f"id0000{who}/v{video}/{k:05d}": bytes([who, video, k]) for who in (1, 2) for video in (1, 2) for k in (1, 2)}


def split(release: readers.Release[Track]) -> tuple[list[Track], list[Reject]]:
    items = list(release.items)
    return [item for item in items if isinstance(item, Track)], [item for item in items if isinstance(item, Reject)]


def test_dense_frames_become_tracks_under_their_voxceleb1_id(tmp_path):
    members = frame_members(NAMES)
    tracks, rejects = split(one.read(voxceleb1(tmp_path, members, NAMES)))
    assert [track.key for track in tracks] == [f"id1000{who}/vid{who}/{track}" for who in (1, 2) for track in (1, 2)]
    assert rejects == []
    media = tracks[0].media
    assert isinstance(media, Frames)
    assert [number for number, _ in media.data] == [6, 12, 18, 24]
    assert media.data[0][1] == members["unzippedIntervalFaces/data/A.J._Buckley/1.6/vid1/1/0000006.jpg"]


def test_archive_without_track_level_gives_one_track_per_video(tmp_path):
    tar_gz(
        tmp_path / "zippedFaces.tar.gz",
        {f"unzippedFaces/A/1.6/v{v}/{25 * k:07d}.jpg": b"x" for v in (1, 2) for k in (1, 2)},
    )
    put(tmp_path / "vox1_meta.csv", "VoxCeleb1 ID\tVGGFace1 ID\nid10001\tA\n")
    tracks, _ = split(one.read(tmp_path))
    assert [track.key for track in tracks] == ["id10001/v1/0", "id10001/v2/0"]


def test_frames_are_sorted_by_number(tmp_path):
    members = dict(reversed(frame_members(["A"], tracks=1).items()))
    (track,), _ = split(one.read(voxceleb1(tmp_path, members, ["A"])))
    assert isinstance(track.media, Frames)
    assert [number for number, _ in track.media.data] == [6, 12, 18, 24]


def test_unexpected_files_of_the_frame_archive_are_rejects(tmp_path):
    root = "unzippedIntervalFaces/data"
    members = {
        f"{root}/A/1.6/v/1/0000006.jpg": b"x",
        f"{root}/A/1.6/v/1/06.jpg": b"y",
        f"{root}/A/1.6/v/VISITED": b"",
        f"{root}/A/1.6/v/1/note.txt": b"",
        f"{root}/A/flat.jpg": b"",
        f"{root}/Stranger/1.6/v/1/0000006.jpg": b"x",
    }
    tracks, rejects = split(one.read(voxceleb1(tmp_path, members, ["A", "Nobody"])))
    assert [track.key for track in tracks] == ["id10001/v/1"]
    assert [reject.kind for reject in rejects] == [
        "frame number repeated in its track",
        "not a face frame",
        "not a face frame",
        "identity unknown",
        "no tracks in the release",
    ]


def test_release_without_archive_or_csv_raises_an_error(tmp_path):
    with pytest.raises(UserError, match=r"dense-face-frames\.tar\.gz"):
        one.read(tmp_path)
    tar_gz(tmp_path / "zippedFaces.tar.gz", {})
    with pytest.raises(UserError, match=r"found no vox1_meta\.csv"):
        one.read(tmp_path)
    with pytest.raises(UserError, match="vox2_dev_mp4_partaa"):
        two.read(tmp_path)


def test_clips_are_read_from_the_parts_as_tracks(tmp_path):
    release = two.read(voxceleb2(tmp_path, CLIPS))
    assert release.total == len(CLIPS)
    tracks, rejects = split(release)
    clips = {track.key: pickle.loads(pickle.dumps(track.media)) for track in tracks}
    assert {key: clip.read() for key, clip in clips.items() if isinstance(clip, Clip)} == CLIPS
    assert rejects == []


def test_dev_and_test_archives_are_read_together(tmp_path):
    voxceleb2(tmp_path, CLIPS)
    put(tmp_path / "vox2_test_mp4.zip", zip_bytes({"mp4/id00077/v/00001.mp4": b"t", "mp4/readme.txt": b""}))
    tracks, rejects = split(two.read(tmp_path))
    assert "id00077/v/00001" in {track.key for track in tracks}
    assert [reject.key for reject in rejects] == ["mp4/readme.txt"]


def test_older_archives_are_read_and_sound_and_text_are_ignored(tmp_path):
    put(tmp_path / "vox2_mp4_1.zip", zip_bytes({"dev/mp4/id00012/v/00001.mp4": b"1"}))
    put(tmp_path / "vox2_mp4_2.zip", zip_bytes({"dev/mp4/id00013/v/00001.mp4": b"2"}))
    put(tmp_path / "vox2_dev_txt.zip", zip_bytes({"txt/id00012/v/00001.txt": b"Identity  : \tid00012"}))
    put(tmp_path / "vox2_dev_aac_partab", b"a part whose first one is not there")
    put(tmp_path / "vox2_meta.csv", "VoxCeleb2 ID ,Set \nid00012 ,dev \nid00013 ,dev \n")
    tracks, rejects = split(two.read(tmp_path))
    assert [track.key for track in tracks] == ["id00012/v/00001", "id00013/v/00001"]
    assert rejects == []


def test_identities_without_a_clip_are_rejects(tmp_path):
    voxceleb2(tmp_path, CLIPS)
    with (tmp_path / "vox2_meta.csv").open("a") as file:
        file.write("id09999 ,n009999 ,f ,test \n")
    _, rejects = split(two.read(tmp_path))
    assert [(reject.key, reject.kind) for reject in rejects] == [("id09999", "no tracks in the release")]


def test_error_about_a_missing_part_names_it(tmp_path):
    release = voxceleb2(tmp_path / "release", CLIPS)
    (release / "vox2_dev_mp4_partab").unlink()
    with pytest.raises(UserError, match="vox2_dev_mp4_partab is missing"):
        two.read(bring("voxceleb2", release, tmp_path / "raw"))


def test_track_that_is_too_large_is_a_reject(tmp_path, monkeypatch):
    root = "unzippedIntervalFaces/data"
    members = {f"{root}/A/1.6/v/{track}/{6 * k:07d}.jpg": bytes(100) for track in (1, 2) for k in range(3 * track)}
    monkeypatch.setattr(one, "MAX_TRACK_BYTES", 300)
    tracks, rejects = split(one.read(voxceleb1(tmp_path, members, ["A"])))
    assert [track.key for track in tracks] == ["id10001/v/1"]
    assert rejects == [Reject("A/v/2", "track too large", "more than 300 bytes")]


def test_person_with_two_ids_keeps_the_first_and_the_other_is_a_reject(tmp_path):
    voxceleb1(tmp_path, frame_members(["A"], tracks=1), ["A"])
    with (tmp_path / "vox1_meta.csv").open("a") as file:
        file.write("id10001\tA\tm\tNowhere\tdev\nid19999\tA\tm\tNowhere\tdev\n")
    tracks, rejects = split(one.read(tmp_path))
    assert [track.key for track in tracks] == ["id10001/vid1/1"]
    assert [(reject.key, reject.kind) for reject in rejects] == [("id19999", "repeated")]


def test_repeated_members_are_returned_twice_for_packing_to_reject(tmp_path):
    data = zip_bytes({"mp4/id1/v/1.mp4": b"1", "mp4/id1/v/2.mp4": b"2"})
    put(tmp_path / "vox2_test_mp4.zip", data.replace(b"v/2.mp4", b"v/1.mp4"))
    put(tmp_path / "vox2_meta.csv", "VoxCeleb2 ID ,Set \nid1 ,test \n")
    tracks, _ = split(two.read(tmp_path))
    assert [track.key for track in tracks] == ["id1/v/1", "id1/v/1"]
