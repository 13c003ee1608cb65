import argparse
import copy
import io
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_server import mutated
from safetensors.torch import save
from torch import nn

from fabnet.modules import weights

STATE = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor(7),
    "c": torch.ones(2, dtype=torch.bfloat16),
    "d": torch.zeros(0, 4, dtype=torch.float64),
    "e": torch.tensor([True, False]),
}


def packed(content: Any, *, is_zip: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()


def read(data: bytes, **options: Any) -> Any:
    return weights.read(io.BytesIO(data), **options)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "data", [packed(STATE), packed(STATE, is_zip=False), save(STATE), save(STATE, metadata={"format": "pt"})]
)
def test_every_format_gives_back_the_weights(data: bytes):
    found = read(data)
    assert found.keys() == STATE.keys()
    for name, value in STATE.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


def test_a_class_is_read_only_if_it_is_allowed():
    data = packed({"opts": argparse.Namespace(lr=0.1), "state_dict": STATE})
    assert read(data, allow=[argparse.Namespace])["opts"].lr == 0.1
    with pytest.raises(ValueError, match=r"^it holds pickled code \(argparse.Namespace\), which is refused$"):
        read(data)


@pytest.mark.parametrize("is_zip", [True, False])
def test_pickled_code_is_refused_and_not_executed(tmp_path: Path, is_zip: bool):
    trap = Trap(tmp_path / "run")
    with pytest.raises(ValueError, match=r"^it holds pickled code \(.+\), which is refused$"):
        read(packed({"a": trap}, is_zip=is_zip))
    with pytest.raises(ValueError, match=r"^it is damaged or not a weight file$"):
        read(pickle.dumps(trap))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("data", [packed(STATE), packed(STATE, is_zip=False), save(STATE)])
@pytest.mark.parametrize("keep", [1, 8, 20, 0.5, 0.9])
def test_a_truncated_file_raises_a_one_line_error(data: bytes, keep: float):
    length = int(keep * len(data)) if isinstance(keep, float) else keep
    # A cut may fall into a class name of the older format, whose place depends on addresses: then it is another class.
    damaged = r"^it is (damaged or not a weight file|a damaged safetensors file)$|^it holds pickled code \([\w.]+\)"
    with pytest.raises(ValueError, match=damaged):
        read(data[:length])


@pytest.mark.parametrize(
    ("data", "clause"),
    [
        (b"", "it is empty"),
        (b"weights", "it is damaged or not a weight file"),
        (b"<html>not found</html>", "it is damaged or not a weight file"),
        (bytes(7) + b"\xff{", "it is a damaged safetensors file"),
    ],
)
def test_invalid_weight_files_raise_a_one_line_error(data: bytes, clause: str):
    with pytest.raises(ValueError, match=f"^{clause}$"):
        read(data)


def test_a_torchscript_program_is_not_a_weight_file():
    buffer = io.BytesIO()
    with pytest.warns(DeprecationWarning, match="deprecated"):
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)), buffer)
    with pytest.raises(ValueError, match=r"^it is damaged or not a weight file$"):
        read(buffer.getvalue())


def test_weights_are_found_at_the_top_or_under_state_dict_with_or_without_module():
    plain = {"0.weight": torch.ones(1), "0.bias": torch.zeros(1)}
    wrapped = {f"module.{name}": value for name, value in plain.items()}
    for content in (plain, {"state_dict": plain, "epoch": 3}, wrapped):
        assert weights.state(content) == plain


@pytest.mark.parametrize(
    ("content", "found"),
    [([1], "list"), ({}, "nothing"), (torch.ones(2), "Tensor"), ({"a": torch.ones(1), "lr": 0.1}, "float under 'lr'")],
)
def test_other_content_than_weights_by_name_is_refused(content: Any, found: str):
    with pytest.raises(ValueError, match=f"^expected weights by name, found {found}$"):
        weights.state(content)


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        ({"bias": None}, r"expected a weight bias \[3\], found none: it is of another network"),
        ({"weight": torch.ones(2, 2)}, r"expected weight of shape \[3, 2\], found \[2, 2\]"),
        ({"more": torch.ones(1)}, "found a weight more, which the network does not have"),
    ],
)
def test_the_error_names_the_weight_that_does_not_fit(change: dict[str, Any], clause: str):
    state = {"weight": torch.ones(3, 2), "bias": torch.ones(3), **change}
    with pytest.raises(ValueError, match=clause):
        weights.fill(nn.Linear(2, 3), {name: value for name, value in state.items() if value is not None})


def test_weights_that_fit_are_loaded():
    net = nn.Linear(2, 3)
    weights.fill(net, {"weight": torch.full((3, 2), 2.0), "bias": torch.ones(3, dtype=torch.float16)})
    assert torch.equal(net(torch.ones(1, 2)), torch.full((1, 3), 5.0))


def test_a_zip_that_unpacks_to_far_more_than_its_size_is_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"")
        for number in range(20):
            archive.writestr(f"archive/data/{number}", bytes(2**20))
    with pytest.raises(ValueError, match=r"it claims 20971520 bytes of weights in a file of \d+ bytes"):
        read(buffer.getvalue())


def test_members_that_overlap_are_refused():
    """Every entry of the directory points to the same megabyte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data/0", bytes(2**20))
        (first,) = archive.infolist()
        for number in range(1, 2000):
            other = copy.copy(first)
            other.filename = f"archive/data/{number}"
            archive.filelist.append(other)
    with pytest.raises(ValueError, match="it claims 2097152000 bytes of weights"):
        read(buffer.getvalue())


@pytest.mark.parametrize("is_zip", [True, False])
def test_weights_that_overlap_are_refused(is_zip: bool):
    stored = torch.arange(1000.0)
    content = read(packed({f"w{k}": stored.expand(1000, 1000) for k in range(9)}, is_zip=is_zip))
    with pytest.raises(ValueError, match="its weights overlap: they take far more than the 4000 bytes"):
        weights.state(content)
    tied = read(packed({"a": stored, "b": stored}, is_zip=is_zip))
    assert set(weights.state(tied)) == {"a", "b"}


def test_sparse_weights_are_refused():
    with pytest.raises(ValueError, match="expected dense weights"):
        weights.state({"a": torch.eye(3).to_sparse()})


@pytest.mark.parametrize("is_zip", [True, False])
def test_mutated_files_are_weights_or_a_one_line_error(is_zip: bool):
    intact, draw, refused = packed(STATE, is_zip=is_zip), random.Random(7), []
    for _ in range(150):
        try:
            weights.state(read(mutated(intact, draw)))
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert not any("\n" in clause for clause in refused)
