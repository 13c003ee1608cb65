"""The workflow can be read, and what it runs is here."""

import re
from pathlib import Path

from ruamel.yaml import YAML

from pipelines import prerequisites

ROOT = Path(__file__).parents[1]
WORKFLOW = YAML(typ="safe").load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
JOBS = WORKFLOW["jobs"]


def commands(job: str) -> str:
    return "\n".join(step.get("run", "") for step in JOBS[job]["steps"])


def test_every_supported_python_is_checked():
    versions = JOBS["check"]["strategy"]["matrix"]["python"]
    assert [tuple(map(int, version.split("."))) for version in versions] == list(prerequisites.PYTHONS)


def test_every_make_target_of_the_workflow_exists():
    targets = re.findall(r"^make (\w+)$", "\n".join(map(commands, JOBS)), flags=re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert sorted(targets) == ["check", "check", "test"]
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_every_schedule_starts_one_job():
    crons = [entry["cron"] for entry in WORKFLOW["on"]["schedule"]]
    conditions = [job["if"] for job in JOBS.values() if "if" in job]
    assert [sum(f"== '{cron}'" in condition for condition in conditions) for cron in crons] == [1, 1]


def test_the_weekly_job_takes_the_newest_versions_and_all_others_the_pins():
    assert "--constraint" not in commands("newest")
    assert "pip install --constraint constraints.txt ." in commands("fabnet-alone")
