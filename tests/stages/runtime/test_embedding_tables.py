from pathlib import Path

import numpy as np
import pytest

from stages.runtime import embedding_tables, tables
from stages.runtime.errors import UserError

VECTORS = np.arange(24.0).reshape(6, 4)


def write(path: Path, changed: dict[int, list[float] | None]) -> Path:
    vectors = [changed.get(number, vector.tolist()) for number, vector in enumerate(VECTORS)]
    rows = [{"sample_id": f"f{number}.jpg", "embedding": vector} for number, vector in enumerate(vectors)]
    tables.write(path, tables.EMBEDDINGS, rows, key=["sample_id"])
    return path


def test_finite_embeddings_are_read_as_they_are(tmp_path: Path):
    table = embedding_tables.read(write(tmp_path / "a.parquet", {}))
    assert np.stack(table["embedding"].to_pylist()).tolist() == VECTORS.tolist()


def test_a_table_without_rows_is_read(tmp_path: Path):
    tables.write(tmp_path / "a.parquet", tables.EMBEDDINGS, [], key=["sample_id"])
    assert len(embedding_tables.read(tmp_path / "a.parquet")) == 0


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({3: [1.0, NAN, 2.0, 3.0]}, "finite numbers, 1 of 6, that of f3.jpg, is not"),
        ({1: [INF] * 4, 4: [1.0, 2.0, 3.0, NAN]}, "finite numbers, 2 of 6, the first that of f1.jpg, are not"),
        ({2: [1.0, 2.0]}, "one length, 1 of 6, that of f2.jpg, is not"),
        ({0: None, 5: []}, "one length, 2 of 6, the first that of f0.jpg, are not"),
        ({number: [] for number in range(6)}, "one length, 6 of 6, the first that of f0.jpg, are not"),
    ],
)
def test_embeddings_that_cannot_be_used_are_counted_and_the_first_is_named(
    tmp_path: Path, changed: dict[int, list[float] | None], found: str
):
    path = write(tmp_path / "a.parquet", changed)
    with pytest.raises(UserError) as error:
        embedding_tables.read(path)
    assert str(error.value) == f"{path}: all embeddings should {'be' if 'finite' in found else 'have'} {found}: " + (
        "run `dvc repro --force` for the stage that writes it"
    )
