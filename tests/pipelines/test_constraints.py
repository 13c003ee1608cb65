from pathlib import Path

from packaging.requirements import Requirement

from pipelines import constraints

TEXT = """\
# Tested together.
dlib-bin==20.0; sys_platform == 'linux'
gone==1
numpy==2.0
torch==2.12.0

# Not everywhere.
nvidia-nccl==2
setuptools==80
"""
FILE = Path(__file__).parents[2] / "constraints.txt"


def test_versions_move_and_markers_and_comments_stay():
    new = constraints.renewed(TEXT, ["torch==2.13.0+cpu", "dlib-bin==20.1", "numpy==2.1", "Fresh_one==3"])
    assert new == (
        "# Tested together.\ndlib-bin==20.1; sys_platform == 'linux'\nFresh_one==3\nnumpy==2.1\ntorch==2.13.0\n\n"
        "# Not everywhere.\nnvidia-nccl==2\nsetuptools==80\n"
    )


def test_lines_of_other_platforms_are_kept_where_they_are_and_move_where_they_are_installed():
    new = constraints.renewed(TEXT, ["torch==2.13.0", "setuptools==81"])
    first, second = new.split("\n\n")
    assert first == "# Tested together.\ndlib-bin==20.0; sys_platform == 'linux'\ntorch==2.13.0"
    assert second == "# Not everywhere.\nnvidia-nccl==2\nsetuptools==81\n"


def test_the_file_is_as_it_would_be_written_and_pins_one_version_each():
    text = FILE.read_text(encoding="utf-8")
    frozen = [line.partition(";")[0] for line in text.split("\n\n")[0].splitlines() if not line.startswith("#")]
    assert constraints.renewed(text, frozen) == text
    pins = [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
    assert len({pin.name for pin in pins}) == len(pins)
    assert all(str(pin.specifier).startswith("==") and "+" not in str(pin.specifier) for pin in pins)
