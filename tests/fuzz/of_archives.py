"""Archives: read in place, unpacked, and with their last parts missing."""

import shutil
from pathlib import Path
from random import Random

import odd_archives
import pyarrow as pa
import seeds
from target import Read, Target, consume, put, rejectable

from stages.acquisition import rar, subset, unpack
from stages.datasets import voxceleb1, voxceleb2
from stages.releases import archives, tars
from stages.releases.archives import ZipSource
from stages.releases.readers import Reject

META = "\n".join([seeds.VOX1_HEADER, "id10001\tpeople\tm\tIreland\tdev"])


def voxceleb1_archive(data: bytes, folder: Path) -> None:
    put(folder, META.encode(), "vox1_meta.csv")
    put(folder, data, "dense-face-frames.tar.gz")
    consume(voxceleb1.read(folder))


def _parted(data: bytes, folder: Path) -> list[Path]:
    size = len(data) // 3 + 1
    return [put(folder, data[size * n : size * (n + 1)], f"vox2_dev_mp4_parta{'abc'[n]}") for n in range(3)]


def voxceleb2_parts(data: bytes, folder: Path) -> None:
    _parted(data, folder)
    put(folder, "\n".join([seeds.VOX2_HEADER, "id00012 ,n ,m ,dev "]).encode(), "vox2_meta.csv")
    consume(voxceleb2.read(folder))


def zip_archive(data: bytes, folder: Path) -> None:
    path = put(folder, data, "a.zip")
    for member in archives.zip_members(ZipSource("a.zip", (path,))):
        rejectable(member.read)


def subset_parts(data: bytes, folder: Path) -> None:
    paths = _parted(data, folder)[:2]
    files = subset.with_directory({path.name: path for path in paths}, [path.name for path in paths], folder / "store")
    joined = ZipSource("joined", tuple(files.values()))
    shutil.rmtree(folder / "store") if not list(archives.zip_members(joined)) else None


def tar_archive(data: bytes, folder: Path) -> None:
    for member in tars.members(put(folder, data, "a.tar")):
        member.read()


def unpacked(name: str) -> Read:
    def read(data: bytes, folder: Path) -> None:
        shutil.rmtree(folder / "store", ignore_errors=True)
        rejects: list[Reject] = []
        unpack.unpack({name: put(folder, data, name)}, folder / "store", rejects)
        pa.array([reject.key for reject in rejects], pa.string())

    return read


def rar_archive(data: bytes, folder: Path) -> None:
    rar.members([put(folder, data, "a.rar")])


def compressed(data: bytes, draw: Random) -> bytes:
    """The bytes as they are, or compressed; sometimes damaged after that, which the checksum tells."""
    if draw.random() < 0.5:
        return data
    packed = bytearray(draw.choice(seeds.packings(data)))
    if draw.random() < 0.3:
        packed[draw.randrange(len(packed))] ^= 1 << draw.randrange(8)
    return bytes(packed)


MEMBER_NAMES = (*seeds.MEMBERS, *seeds.CLIPS)


TARGETS = (
    Target(
        "voxceleb1 archive",
        seeds.tars,
        voxceleb1_archive,
        lambda: odd_archives.tars(MEMBER_NAMES),
        120,
        finish=compressed,
        is_guided=True,
    ),
    Target(
        "voxceleb2 parts", seeds.zips, voxceleb2_parts, lambda: odd_archives.archives(MEMBER_NAMES), 80, is_guided=True
    ),
    Target("zip archive", seeds.zips, zip_archive, lambda: odd_archives.archives(MEMBER_NAMES), 150, is_guided=True),
    Target(
        "tar archive",
        seeds.tars,
        tar_archive,
        lambda: odd_archives.tars(MEMBER_NAMES),
        250,
        finish=compressed,
        is_guided=True,
    ),
    Target("rar archive", seeds.rars, rar_archive, None, 250, is_guided=True),
    Target("unpack zip", seeds.zips, unpacked("a.zip"), lambda: odd_archives.archives(MEMBER_NAMES), 60),
    Target(
        "unpack tar", seeds.tars, unpacked("a.tar.gz"), lambda: odd_archives.tars(MEMBER_NAMES), 60, finish=compressed
    ),
    Target("subset", seeds.zips, subset_parts, lambda: odd_archives.archives(MEMBER_NAMES), 150, is_guided=True),
)
