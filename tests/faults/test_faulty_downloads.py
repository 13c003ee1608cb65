"""Whatever a server does, and whenever a download is killed: a file is what its owner published, or is not there."""

import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from faulty_downloads import ANYWHERE, ONLY_WITH, outcome
from faulty_server import Site, serving

SEED = 2018
SHORT, LONG = 24, 1000
KINDS = {*ANYWHERE, *(kind for kinds in ONLY_WITH.values() for kind in kinds)}
KILLS = {"killed at a file operation", "killed while it receives"}


def told(folder: Path, count: int) -> tuple[Counter[str], Counter[str]]:
    """Number of downloads by what came of them, and of faults by kind."""
    results, faults = Counter[str](), Counter[str]()
    with serving(Site({})) as site:
        for number in range(count):
            into = folder / str(number)
            into.mkdir()
            came = outcome(SEED * LONG + number, site, into)
            assert came.wrong == ""
            results["finished" if came.finished else "refused"] += 1
            faults += came.faults
            shutil.rmtree(into)
    return results, faults


def test_a_faulty_download_is_the_owners_file_or_none(tmp_path):
    results, faults = told(tmp_path, SHORT)
    assert results["finished"] > SHORT / 2
    assert len(set(faults) & KINDS) > len(KINDS) / 2


@pytest.mark.torture
@pytest.mark.timeout(0)
def test_a_thousand_faulty_downloads_are_the_owners_files_or_none(tmp_path, capsys):
    results, faults = told(tmp_path, LONG)
    counts = "".join(f"\n  {count:5} {kind}" for kind, count in sorted(faults.items()))
    with capsys.disabled():
        sys.stdout.write(f"\n{LONG} downloads: {dict(results)}, wrong: 0; {faults.total()} faults:{counts}\n")
    assert set(faults) == KINDS | KILLS | {"changed"}
    assert min(faults.values()) >= 10
