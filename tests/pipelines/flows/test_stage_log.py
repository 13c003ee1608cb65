import threading

from pipelines.flows import stage_log
from pipelines.flows.stage_log import StageLog


def test_the_file_has_every_line_and_the_listener_few_bundles(tmp_path):
    told: list[str] = []
    lines = [f"line {k}" for k in range(1000)]
    with StageLog(tmp_path / "run" / "crop.log", told.append) as log:
        for line in lines:
            log.add(line)
    assert (tmp_path / "run" / "crop.log").read_text().splitlines() == lines
    assert len(told) <= 2
    assert "\n".join(told).splitlines() == lines


def test_a_line_is_told_without_waiting_for_the_next(tmp_path):
    told = threading.Event()
    with StageLog(tmp_path / "crop.log", lambda _: told.set(), interval_s=0.05) as log:
        log.add("the only one for a long time")
        assert told.wait(5)


def test_a_flood_keeps_its_end(tmp_path):
    told: list[str] = []
    with StageLog(tmp_path / "crop.log", told.append) as log:
        for k in range(stage_log.BUNDLE_CHARS):
            log.add(str(k))
    assert len(told[0]) <= stage_log.BUNDLE_CHARS + 10
    assert told[0].startswith("[...]")
    assert told[0].endswith(str(stage_log.BUNDLE_CHARS - 1))


def test_blank_lines_alone_are_not_told(tmp_path):
    told: list[str] = []
    with StageLog(tmp_path / "crop.log", told.append) as log:
        log.add("")
    assert told == []
