import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.results import page
from pipelines.results.rows import COLUMNS, Row, read_all, write
from stages.runtime.errors import UserError

SHA256 = "ab" * 32


def row(**changes: Any) -> Row:
    values: dict[str, Any] = {
        "pack": "300-W official", "dataset": "w300", "task": "landmarks", "split": "test",
        "metric": "interocular_percent", "probe": "linear", "method": "vicreg", "encoder": "", "part": "", "steps": 700,
        "size_px": 64, "seeds": "0 1", "value": 8.5, "ci_low": 8.0, "ci_high": 9.25, "n": 689, "minus_random": -2.0,
        "minus_random_low": -2.5, "minus_random_high": -1.5, "minus_fabnet": 0.0, "minus_fabnet_low": -0.25,
        "minus_fabnet_high": 0.25, "command": "make repro PROFILE=small", "weights_sha256": "", "config_hash": "0" * 12,
        "commit": "1" * 12,
    }  # fmt: skip
    return Row.model_validate(values | changes)


def control(name: str) -> Row:
    return row(method=name, **{f"minus_{name}{end}": None for end in ("", "_low", "_high")})


NOT_COMPARED = {f"minus_{name}{end}": None for name in ("random", "fabnet") for end in ("", "_low", "_high")}


def own_head() -> Row:
    return row(method="released", probe="own_head", weights_sha256=SHA256, **NOT_COMPARED)


def test_rows_come_back_from_their_file_in_one_order(tmp_path: Path):
    rows = [row(), control("random"), control("fabnet"), own_head()]
    write(tmp_path / "a.csv", rows)
    write(tmp_path / "b" / "a.csv", reversed(rows))
    assert {placed.row.key for placed in read_all(tmp_path)} == {row.key for row in rows}
    assert all(placed.row in rows for placed in read_all(tmp_path))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b" / "a.csv").read_bytes()


def complaint(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_all(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("column", "cell", "clause"),
    [
        ("value", "low", "value should be a valid number, unable to parse string as a number, found 'low'"),
        ("value", "nan", "value should be a finite number, found 'nan'"),
        ("value", "9.5", "the interval should contain the value 9.5, found [8.0, 9.25]"),
        ("minus_random", "-1", "the interval of minus_random should contain -1.0, found [-2.5, -1.5]"),
        ("minus_fabnet", "", "minus_fabnet should be given for probe linear, found nothing"),
        ("minus_fabnet_low", "", "the interval of minus_fabnet should contain 0.0, found [None, 0.25]"),
        ("n", "0", "n should be greater than 0, found '0'"),
        ("part", "pose and", "part: expected the name of a part of the embedding, or nothing, found 'pose and'"),
        ("n", "12.5", "n should be a valid integer"),
        ("method", "vicregg", "method should be one of autoencoder, "),
        ("dataset", "w301", "dataset should be one of affectnet, "),
        ("metric", "error", "metric should be one of auc, "),
        (
            "probe",
            "mlp",
            "probe: expected linear, neighbours, own_head or a number of shots such as 5-shot, found 'mlp'",
        ),
        ("split", "val", "split: expected `test` or `test/<subset>`, found 'val'"),
        ("seeds", "0, 1", "seeds: expected whole numbers with spaces between them, found '0, 1'"),
        ("pack", "", "pack: expected 1 to 300 characters in one line, found ''"),
        ("encoder", "x" * 101, "encoder: expected at most 100 characters in one line, found 'x"),
        ("command", "", "command: expected 1 to 300 characters in one line, found ''"),
        ("config_hash", "12", "config_hash: expected 12 hex digits, found '12'"),
        ("commit", "main", "commit: expected 12 to 40 hex digits, found 'main'"),
        ("weights_sha256", "AB", "weights_sha256: expected a sha256 of 64 hex digits, or nothing, found 'AB'"),
        ("weights_sha256", SHA256, "weights_sha256 should be empty for method vicreg"),
        ("method", "vgg_face", "weights_sha256 should be the digest of the weight file for method vgg_face"),
        ("encoder", "CLIP", "encoder should say which one it is if the method is own, else be empty, found 'CLIP'"),
    ],
)
def test_a_wrong_cell_is_one_sentence_with_file_and_line(tmp_path: Path, column: str, cell: str, clause: str):
    path = tmp_path / "a.csv"
    write(path, [control("random"), row()])  # sorted: the second one is in line 3
    lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    cells[COLUMNS.index(column)] = cell if "," not in cell else f'"{cell}"'
    path.write_text("\n".join([*lines[:2], ",".join(cells)]) + "\n")
    assert complaint(tmp_path).startswith(f"{path}, line 3: {clause}")


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (lambda text: text.replace("pack,", "package,"), "line 1: expected the columns pack,dataset,"),
        (lambda text: "", "line 1: expected the columns pack,dataset,"),
        (lambda text: text.rstrip("\n") + ",\n", f"line 2: expected {len(COLUMNS)} values, one for each column, found"),
        (lambda text: text + "\n", f"line 3: expected {len(COLUMNS)} values, one for each column, found 0"),
    ],
)
def test_a_file_of_another_form_is_one_sentence(tmp_path: Path, change: Any, clause: str):
    path = tmp_path / "a.csv"
    write(path, [row()])
    path.write_text(change(path.read_text()))
    assert complaint(tmp_path).startswith(f"{path}, {clause}")


def test_a_part_stands_beside_the_whole_without_differences(tmp_path: Path):
    write(tmp_path / "a.csv", [row(), row(part="pose", value=8.75, **NOT_COMPARED)])
    text = page.markdown(read_all(tmp_path))
    assert "| `vicreg`, 2 seeds | 700 | 64 | 8.50 [8.00, 9.25] | a, `" in text
    assert "| `vicreg`, part `pose`, 2 seeds | 700 | 64 | 8.75 [8.00, 9.25] | a, `" in text


def test_a_file_that_is_no_text_is_one_sentence(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe")
    assert complaint(tmp_path).startswith(f"{tmp_path / 'a.csv'} should be a CSV file in UTF-8: ")


def test_a_result_that_is_there_twice_is_one_sentence_with_both_places(tmp_path: Path):
    write(tmp_path / "a.csv", [row()])
    write(tmp_path / "b.csv", [row(value=8.75, commit="2" * 12)])
    assert complaint(tmp_path) == (
        f"{tmp_path / 'b.csv'}, line 2: the same result is in {tmp_path / 'a.csv'}, line 2: keep one of them"
    )


def test_other_seeds_steps_packs_and_probes_are_other_results(tmp_path: Path):
    changes = [{}, {"seeds": "2"}, {"steps": 1}, {"pack": "real pack"}, {"probe": "5-shot"}, {"config_hash": "2" * 12}]
    write(tmp_path / "a.csv", [row(**change) for change in changes])
    assert len(read_all(tmp_path)) == len(changes)


def test_the_page_keeps_the_order_of_lines_and_the_columns_of_an_encoder_with_a_bar(tmp_path: Path):
    names = [f"encoder {number:02d} | mean" for number in range(12)]
    write(tmp_path / "a.csv", [row(method="own", encoder=name, weights_sha256=SHA256) for name in names])
    values, _ = page.markdown(read_all(tmp_path)).split("minus `random`")
    shown = [line for line in values.splitlines() if line.startswith("| encoder")]
    assert [line.split(", 2 seeds")[0] for line in shown] == ["| " + name.replace("|", "\\|") for name in names]


def test_every_column_is_explained_on_the_page():
    text = (Path(__file__).parents[3] / "docs" / "reference-table.md").read_text(encoding="utf-8")
    explained = re.findall(r"`(\w+)`", "".join(line for line in text.splitlines() if line.startswith("| `")))
    assert [name for name in COLUMNS if name not in explained] == []
