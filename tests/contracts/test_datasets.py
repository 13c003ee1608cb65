import pyarrow as pa
import pytest

from stages import plugins, tables
from stages.errors import UserError

NAMES = plugins.names("stages.datasets")


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_says_what_it_expects_and_which_labels_it_gives(name):
    module = plugins.load("stages.datasets", name)
    assert isinstance(module.EXPECTED, str)
    assert all(isinstance(kind, pa.DataType) for kind in module.LABELS.values())
    assert not set(module.LABELS) & set(tables.FACES.names)


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_answers_an_empty_release_with_one_sentence(name, tmp_path):
    (tmp_path / "manifest.json").write_text('{"dataset": "x", "source": "folder", "files": []}')
    with pytest.raises(UserError, match="should hold"):
        plugins.load("stages.datasets", name).read(tmp_path)
