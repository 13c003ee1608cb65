"""What the installation needs from the system: checked before it starts, one sentence for each thing missing.

Run by the system's Python, whatever its version: standard library only, no syntax newer than Python 3.6.
"""

import ctypes
import importlib.util
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

PYTHONS = ((3, 11), (3, 12))
XCODE = "Xcode's command line tools"
WITH_DLIB = ("x86_64", "aarch64", "arm64", "AMD64")  # machines with a wheel of dlib-bin, as in pyproject.toml


def answer(what: str, debian: str, fedora: str, macos: str) -> str:
    """The sentence that names the packages to install."""
    return (
        f"{what}: install {debian} (Debian, Ubuntu), {fedora} (Fedora) or {macos} (macOS), then run the command again"
    )


def wrong_python(version: tuple) -> list:
    """Sentences about the Python `(major, minor)` that runs this, and about what Debian ships apart from it."""
    name = "python{}.{}".format(*version)
    if version not in PYTHONS:
        what = f"Python 3.11 or 3.12 is needed, found {name}"
        return [answer(what, "python3.11 python3.11-venv python3.11-dev", "python3.12-devel", "python@3.12")]
    found = []
    if importlib.util.find_spec("ensurepip") is None:
        found.append(answer("Python's venv is missing", f"{name}-venv", name, "python@3.12"))
    if builds_dlib() and not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        what = "Python.h is missing, needed to build dlib"
        found.append(answer(what, f"{name}-dev", f"{name}-devel", "python@3.12"))
    return found


def builds_dlib() -> bool:
    """Whether the installation builds dlib from source here, since no wheel fits."""
    return platform.machine() not in WITH_DLIB or (platform.system(), platform.machine()) == ("Darwin", "x86_64")


def missing_programs() -> list:
    """Sentences about programs that are not on PATH."""
    found = []
    if builds_dlib() and not any(shutil.which(name) for name in ("g++", "c++", "clang++")):
        found.append(answer("a C++ compiler is missing, needed to build dlib", "g++", "gcc-c++", XCODE))
    if builds_dlib() and not shutil.which("cmake"):
        found.append(answer("cmake is missing, needed to build dlib", "cmake", "cmake", "cmake"))
    if not shutil.which("git"):
        found.append(answer("git is missing, needed by DVC", "git", "git", XCODE))
    return found


def missing_libraries() -> list:
    """Sentences about shared libraries that OpenCV loads; its macOS build brings its own."""
    if platform.system() != "Linux":
        return []
    wanted = (("libGL.so.1", "libgl1", "mesa-libGL"), ("libgthread-2.0.so.0", "libglib2.0-0", "glib2"))
    return [
        f"{library} is missing, needed by OpenCV: install {debian} (Debian, Ubuntu) or {fedora} (Fedora), "
        "then run the command again"
        for library, debian, fedora in wanted
        if not can_load(library)
    ]


def can_load(library: str) -> bool:
    """Whether the dynamic linker finds `library`."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def little_disk(free_bytes: int) -> list:
    """A sentence if the installation takes more than `free_bytes`; PyTorch for 64-bit Linux PCs brings CUDA."""
    needed_gb = 8 if (platform.system(), platform.machine()) == ("Linux", "x86_64") else 3
    if free_bytes >= needed_gb * 1e9:
        return []
    found = f"{needed_gb} GB of free disk are needed, found {free_bytes / 1e9:.1f} GB"
    return [f"{found}: make room, then run the command again"]


def missing(folder: Path = Path()) -> list:
    """Everything that stands in the way of installing into `folder`, one sentence each."""
    free_bytes = shutil.disk_usage(str(folder)).free
    return (
        wrong_python(tuple(sys.version_info[:2])) + missing_programs() + missing_libraries() + little_disk(free_bytes)
    )


if __name__ == "__main__":
    sentences = missing()
    for sentence in sentences:
        sys.stderr.write(f"error: {sentence}\n")
    sys.exit(1 if sentences else 0)
