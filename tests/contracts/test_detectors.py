import inspect
from pathlib import Path

import pytest

from stages.runtime import plugins

NAMES = plugins.names("stages.detectors")
MODULES = [plugins.load("stages.detectors", name) for name in NAMES]


def test_the_three_detectors_are_found_by_name():
    assert {"dlib_cnn", "dlib_hog", "yunet"} <= set(NAMES)


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_a_detector_has_a_version_and_describes_its_weight_file(module):
    assert isinstance(module.WEIGHTS, str)
    name, version = module.version().split()
    assert name.isalpha()
    assert version[0].isdigit()
    assert list(inspect.signature(module.load).parameters) == ["weights", "min_score"]


@pytest.mark.parametrize("data", [b"", b"not a network", bytes(range(256)) * 40])
@pytest.mark.parametrize("module", [module for module in MODULES if module.WEIGHTS])
def test_a_damaged_weight_file_is_an_error(tmp_path, module, data):
    for name in ("weights.dat", "weights.onnx"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match="another or a damaged file") as error:
            module.load(tmp_path / name, 0.5)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("module", [module for module in MODULES if module.WEIGHTS])
def test_a_missing_weight_file_is_an_error(tmp_path, module):
    with pytest.raises(ValueError, match="another or a damaged file"):
        module.load(Path(tmp_path / "nowhere.onnx"), 0.5)
