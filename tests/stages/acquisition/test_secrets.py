"""Keys and logins of owners are nowhere but in the environment and in requests, whatever becomes of a download.

A canary is the value of each variable that may carry a secret. `fetch` runs by hand and as a stage of DVC, which logs
all it can; everything that they say or leave behind is searched. The server looks at the process list at every request.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import canaries
import pyarrow.parquet as pq
import pytest
from canaries import CANARIES, ECHO, FILES, LOGIN, environment, leaks, left_behind, of_processes, watched
from faulty_server import Fault, Site, serving
from media_samples import encoded, noise

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    canaries.make_project(tmp_path / "project")
    return tmp_path / "project"


def fetch(project: Path, dataset: str, secrets: Mapping[str, str], *, by_dvc: bool = False) -> tuple[int, str]:
    """Exit status of the stage and all that it says; with DVC, that is told to say as much as it can."""
    by_hand = ["python", "-m", "stages.fetch", dataset, "--registries", "registries", "--out", f"raw/{dataset}"]
    command = ["dvc", "repro", "-vv", f"fetch@{dataset}"] if by_dvc else by_hand
    done = subprocess.run(command, cwd=project, env=environment(**secrets), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def owner() -> Iterator[tuple[Site, list[str]]]:
    """An owner's server, and what it saw in the process list."""
    seen: list[str] = []
    with serving(Site(dict(FILES))) as site:
        yield site, seen


def test_the_search_finds_what_it_looks_for(tmp_path):
    (tmp_path / "log.txt").write_text(f"GET /download?key={quote(CANARIES['KEY'])}", encoding="utf-8")
    (tmp_path / "head.txt").write_text(f"Authorization: Basic {LOGIN}", encoding="utf-8")
    assert set(left_behind(tmp_path)) == {"log.txt", "head.txt"}
    command = [sys.executable, "-c", "print(flush=True); input()", CANARIES["KEY"]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()  # it runs
        assert of_processes()
        process.communicate(b"\n")


FAILURES = {
    "refused, with the key in the answer": Fault(status=401, body=ECHO),
    "an answer that cannot be the file": Fault(status=200, body=ECHO),
    "sent on to an address with the key": Fault(status=302, headers={"Location": f"/gone?key={CANARIES['KEY']}"}),
    "gone, with the key in a header": Fault(status=404, headers={"X-Key": CANARIES["KEY"]}, body=ECHO),
}
BY_DVC = {("key", "refused, with the key in the answer")}  # and the end of it: the stage is the same


@pytest.mark.parametrize("scheme", ["key", "login"])
def test_a_failed_and_then_a_finished_download_leave_no_secret_anywhere(scheme, project, owner):
    site, seen = owner
    if scheme == "key":
        secrets = {"URL": f"{site.url}/download?account={CANARIES['URL']}", "KEY": CANARIES["KEY"]}
    else:
        secrets = {"URL": site.url, "USER": CANARIES["USER"], "PASSWORD": CANARIES["PASSWORD"]}
    secrets = {f"FABNET_VOXCELEB_{name}": value for name, value in secrets.items()}
    for name, failure in FAILURES.items():
        site.fault = watched(seen, {"vox2_dev_mp4_partaa": failure})
        status, said = fetch(project, "voxceleb2", secrets, by_dvc=(scheme, name) in BY_DVC)
        assert status != 0, name
        assert "voxceleb2 is not complete" in said, name
        assert leaks(said) == [], name
        assert left_behind(project) == {}, name
    site.fault = watched(seen, {})
    status, said = fetch(project, "voxceleb2", secrets, by_dvc=scheme == "key")
    assert status == 0, said
    sent = [(request.query.get("key"), request.headers.get("Authorization")) for request in site.requests]
    assert ([CANARIES["KEY"]], None) in sent if scheme == "key" else (None, f"Basic {LOGIN}") in sent
    assert leaks(said) == seen == []
    assert left_behind(project) == {}
    assert (project / "dvc.lock").is_file() == (scheme == "key")
    assert (project / "data" / "releases" / "voxceleb2" / ".recorded.txt").is_file()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("FABNET_VOXCELEB_URL", "http://{user}:{password}@127.0.0.1:9/", "FABNET_VOXCELEB_URL should be an http"),
        ("FABNET_MIRROR", "http://{user}:{password}@127.0.0.1:9/", "FABNET_MIRROR should be an http"),
        ("FABNET_MIRROR", "http://127.0.0.1:9/copy?token={mirror}", "should list the mirror's voxceleb2"),
        ("FABNET_VOXCELEB_PASSWORD", "{password}", "should both be set, found one of them"),
        ("HTTP_PROXY", "http://{user}:{proxy}@127.0.0.1:9", "should list the mirror's voxceleb2: no connection to"),
    ],
)
def test_a_wrong_setting_is_told_without_its_value(variable, value, says, project):
    given = value.format(**{name.lower(): canary for name, canary in CANARIES.items()})
    server = "FABNET_MIRROR" if variable == "HTTP_PROXY" else "FABNET_VOXCELEB_URL"
    secrets = {server: "http://owner.invalid/", variable: given, "NO_PROXY": "", "no_proxy": ""}
    status, said = fetch(project, "voxceleb2", secrets)
    assert status != 0
    assert says in said
    assert leaks(said) == []
    assert left_behind(project) == {}


def test_a_mirrors_registry_and_rejected_images_hold_no_secret(project, owner):
    """Listed pictures are on a server that the user has named with a key; one is gone, one leads to the key."""
    site, seen = owner
    names = [f"N_0000000201/N_0000000201_0000{k}.jpg" for k in range(3)]
    rows = [f"{site.url}/{name}\t{site.url}/gone/{name}\t" + "\t".join("0" * 60) for name in names]
    site.files = {
        "emotionet/registry.txt": b"dataFile_1000.txt - - MIRROR\n",
        "emotionet/dataFile_1000.txt": "\n".join(rows).encode(),
        names[0]: encoded(noise(30, 30)),
    }
    site.fault = watched(seen, {names[2]: FAILURES["sent on to an address with the key"]})
    secrets = {"FABNET_MIRROR": site.url, "FABNET_LAB_URL": site.url, "FABNET_LAB_KEY": CANARIES["KEY"]}
    proxy = {"HTTPS_PROXY": f"http://{CANARIES['USER']}:{CANARIES['PROXY']}@127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    status, said = fetch(project, "emotionet", {**secrets, **proxy})
    assert status == 0, said
    assert leaks(said) == seen == []
    assert left_behind(project) == {}
    (registry,) = project.rglob("emotionet.registry.txt")
    assert registry.read_bytes() == site.files["emotionet/registry.txt"]
    rejects = pq.read_table(project / "raw" / "emotionet" / "rejects.parquet").to_pylist()
    assert [row["kind"] for row in rejects] == ["URL is dead", "URL is dead"]
