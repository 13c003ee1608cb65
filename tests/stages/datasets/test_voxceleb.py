import io
import pickle
import tarfile

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
        "not a face frame",
        "not a face frame",
        "identity unknown",
        "frame number repeated in its track",
        "no tracks in the release",
    ]
    assert rejects[2].detail == "not in vox1_meta.csv: 1 frames"


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
    put(
        tmp_path / "vox2_test_mp4.zip",
        zip_bytes({"mp4/id00077/v/00001.mp4": b"t", "mp4/notes.txt": b"", "mp4/README": b""}),
    )
    tracks, rejects = split(two.read(tmp_path))
    assert "id00077/v/00001" in {track.key for track in tracks}
    assert [reject.key for reject in rejects] == ["mp4/notes.txt"]


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
    assert rejects == [Reject("A/v/2", "track too large", "more than 300 bytes: 6 frames")]


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


def frames_of(tracks: list[Track]) -> dict[str, list[int]]:
    return {
        track.key: [number for number, _ in track.media.data] for track in tracks if isinstance(track.media, Frames)
    }


ROOT = "unzippedIntervalFaces/data/A/1.6"
WHOLE = {f"id10001/v/{track}": [6, 12, 18, 24] for track in (1, 2, 3)}
IN_ORDER = {f"{ROOT}/v/{track}/{number:07d}.jpg": bytes([track, number]) * 50
            for track in (1, 2, 3) for number in (6, 12, 18, 24)}  # fmt: skip


@pytest.mark.parametrize(
    "stranger", [".DS_Store", "._0000012.jpg", "Thumbs.db", "VISITED", "README.txt", "desktop.ini"]
)
def test_a_stranger_between_two_frames_costs_nothing(stranger, tmp_path):
    members = {name: data for frame, content in IN_ORDER.items()
               for name, data in ((frame, content), (f"{frame.rpartition('/')[0]}/{stranger}", b"x"))}  # fmt: skip
    tracks, rejects = split(one.read(voxceleb1(tmp_path, members, ["A"])))
    assert frames_of(tracks) == WHOLE
    assert rejects == []


def test_a_member_that_is_no_frame_costs_no_frame_of_its_track(tmp_path):
    names = list(IN_ORDER)
    members = {name: IN_ORDER[name] for name in names[:2]} | {f"{ROOT}/v/1/note.txt": b"x"} | IN_ORDER
    tracks, rejects = split(one.read(voxceleb1(tmp_path, members, ["A"])))
    assert frames_of(tracks) == WHOLE
    assert [(reject.key, reject.kind) for reject in rejects] == [(f"{ROOT}/v/1/note.txt", "not a face frame")]


@pytest.mark.parametrize("room", [600, 2**30])
def test_frames_of_a_track_may_lie_anywhere_in_the_archive(room, tmp_path, monkeypatch):
    monkeypatch.setattr(one, "MAX_TRACK_BYTES", 400)
    monkeypatch.setattr(one, "MAX_HELD_BYTES", room)  # for one of the three tracks, or for all
    mixed = dict(sorted(IN_ORDER.items(), key=lambda item: item[0][-11:]))
    tracks, rejects = split(one.read(voxceleb1(tmp_path, mixed, ["A"])))
    assert frames_of(tracks) == WHOLE
    assert rejects == []


def test_a_track_that_ends_in_an_appended_archive_is_whole(tmp_path):
    folder = voxceleb1(tmp_path, dict(list(IN_ORDER.items())[:6]), ["A"])
    path = folder / "dense-face-frames.tar.gz"
    more = tar_gz(tmp_path / "more.tar.gz", dict(list(IN_ORDER.items())[6:])).read_bytes()
    path.write_bytes(path.read_bytes() + more)
    tracks, rejects = split(one.read(folder))
    assert frames_of(tracks) == WHOLE
    assert rejects == []


@pytest.mark.parametrize(("target", "numbers"), [("0000012.jpg", [6, 12, 18, 24]), ("0000024.jpg", [6, 12, 24])])
def test_a_hard_link_is_the_frame_before_it_or_a_reject_of_its_own(target, numbers, tmp_path):
    voxceleb1(tmp_path, {}, ["A"])
    with tarfile.open(tmp_path / "dense-face-frames.tar.gz", "w:gz") as archive:
        for name, data in IN_ORDER.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if name.endswith("1/0000018.jpg"):
                info.type, info.size, info.linkname = tarfile.LNKTYPE, 0, f"{ROOT}/v/1/{target}"
            archive.addfile(info, io.BytesIO(data))
    tracks, rejects = split(one.read(tmp_path))
    assert frames_of(tracks) == WHOLE | {"id10001/v/1": numbers}
    assert [reject.key for reject in rejects] == ([] if 18 in numbers else [f"{ROOT}/v/1/0000018.jpg"])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_the_frame_archive_are_rejects(kind, tmp_path):
    voxceleb1(tmp_path, {}, ["A"])
    with tarfile.open(tmp_path / "dense-face-frames.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo(f"{ROOT}/v/1/0000025.jpg")
        info.type, info.linkname = kind, f"{ROOT}/v/2/0000025.jpg"
        archive.addfile(info)
    _, (reject, _) = split(one.read(tmp_path))
    assert (reject.key, reject.kind) == (f"{ROOT}/v/1/0000025.jpg", "not a regular file in the archive")


def test_unsafe_names_in_the_frame_archive_are_rejects(tmp_path):
    members = {**IN_ORDER, "../A/1.6/v/1/0000030.jpg": b"x", "/A/1.6/v/1/0000036.jpg": b"x"}
    tracks, rejects = split(one.read(voxceleb1(tmp_path, members, ["A"])))
    assert frames_of(tracks) == WHOLE
    assert [reject.kind for reject in rejects] == ["unsafe name", "unsafe name"]


def test_an_archive_that_changes_between_its_readings_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(one, "MAX_TRACK_BYTES", 400)
    monkeypatch.setattr(one, "MAX_HELD_BYTES", 400)
    folder = voxceleb1(tmp_path, dict(sorted(IN_ORDER.items(), key=lambda item: item[0][-11:])), ["A"])
    items = one.read(folder).items
    assert isinstance(next(items), Track)
    tar_gz(tmp_path / "other.tar.gz", {}).replace(folder / "dense-face-frames.tar.gz")
    with pytest.raises(UserError, match="has changed while it was read"):
        list(items)


def test_a_damaged_frame_archive_is_told_before_its_first_track(tmp_path):
    folder = voxceleb1(tmp_path, IN_ORDER, ["A"])
    path = folder / "dense-face-frames.tar.gz"
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    with pytest.raises(UserError, match="damaged or cut short"):
        next(one.read(folder).items)


@pytest.mark.parametrize("names", ["{}/{}/{}.mp4", "{}\\{}\\{}.mp4"])
def test_clips_of_an_archive_from_a_mac_or_from_windows_are_read_without_its_strangers(names, tmp_path):
    put(tmp_path / "vox2_meta.csv", "VoxCeleb2 ID ,Set \nid00012 ,dev \n")
    clip, slash = names.format("id00012", "v", "00001"), names[2]
    members = {f"dev{slash}mp4{slash}{clip}": b"1", f"__MACOSX{slash}dev{slash}mp4{slash}{clip}": b"x",
               f"dev{slash}mp4{slash}.DS_Store": b"x"}  # fmt: skip
    put(tmp_path / "mine.zip", zip_bytes(members))
    tracks, rejects = split(two.read(tmp_path))
    assert [track.key for track in tracks] == ["id00012/v/00001"]
    assert rejects == []


def test_a_release_of_all_people_without_all_clips_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(two, "PUBLISHED", {"clips": 9, "people with clips": 2, "people in vox2_meta.csv": 2})
    _, rejects = split(two.read(voxceleb2(tmp_path, CLIPS)))
    assert [(reject.key, reject.kind) for reject in rejects] == [("8 of 9", "incomplete: clips")]
