import threading

from pipelines.flows import stage_log
from pipelines.flows.stage_log import StageLog


def test_the_file_has_every_line_and_the_callback_gets_few_bundles(tmp_path):
    texts: list[str] = []
    lines = [f"line {k}" for k in range(1000)]
    with StageLog(tmp_path / "run" / "crop.log", texts.append) as log:
        for line in lines:
            log.add(line)
    assert (tmp_path / "run" / "crop.log").read_text().splitlines() == lines
    assert len(texts) <= 2
    assert "\n".join(texts).splitlines() == lines


def test_a_line_is_passed_on_without_waiting_for_the_next(tmp_path):
    called = threading.Event()
    with StageLog(tmp_path / "crop.log", lambda _: called.set(), interval_s=0.05) as log:
        log.add("the only one for a long time")
        assert called.wait(5)


def test_a_bundle_that_is_too_long_keeps_its_end(tmp_path):
    texts: list[str] = []
    with StageLog(tmp_path / "crop.log", texts.append) as log:
        for k in range(stage_log.BUNDLE_CHARS):
            log.add(str(k))
    assert len(texts[0]) <= stage_log.BUNDLE_CHARS + 10
    assert texts[0].startswith("[...]")
    assert texts[0].endswith(str(stage_log.BUNDLE_CHARS - 1))


def test_blank_lines_alone_are_not_passed_on(tmp_path):
    texts: list[str] = []
    with StageLog(tmp_path / "crop.log", texts.append) as log:
        log.add("")
    assert texts == []
