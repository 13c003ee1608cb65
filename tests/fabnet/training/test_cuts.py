from collections.abc import Sequence

import numpy as np
import pytest
import torch

from fabnet.training import cuts

SIDE_PX = 30
SQUARES = np.array([(0, 0, 30, 30), (5, 6, 25, 26), (10, 2, 33, 25)], np.float32)
WANTED = [(np.arange(first, first + 3), SQUARES) for first in (0, 3, 6, 9)]


def image(row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 256, (36, 40, 3), np.uint8)


def together(images: Sequence[np.ndarray]) -> list[torch.Tensor]:
    assert len(images) == 3  # a whole batch
    return [torch.from_numpy(image) for image in images]


def check(found: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    assert len(found) == len(WANTED)
    for (pixels, squares), (rows, _) in zip(found, WANTED, strict=True):
        assert pixels.shape == (3, SIDE_PX, SIDE_PX, 3)
        assert pixels.dtype == torch.uint8
        assert squares.tolist() == [[0, 0, 30, 30], [0, 0, 20, 20], [0, 0, 23, 23]]
        for row, slot, (x0, y0, x1, y1) in zip(rows, pixels.numpy(), SQUARES.astype(int), strict=True):
            assert np.array_equal(slot[: y1 - y0, : x1 - x0], image(row)[y0:y1, x0:x1])


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_all_batches_have_one_shape_with_every_square_at_the_top_left(workers: int):
    check(list(cuts.loaded(WANTED, image, side_px=SIDE_PX, workers=workers, pinned=False)))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_frames_that_are_decoded_a_batch_at_once_give_the_same_squares(workers: int):
    device = torch.device("cpu")
    check(list(cuts.decoded(WANTED, image, together, side_px=SIDE_PX, workers=workers, device=device)))


def test_what_stops_a_decoder_stops_the_epoch():
    def broken(_: object) -> list[torch.Tensor]:
        raise OSError("no decoder")

    with pytest.raises(OSError, match="no decoder"):
        list(cuts.decoded(WANTED, image, broken, side_px=SIDE_PX, workers=2, device=torch.device("cpu")))


@pytest.mark.gpu
def test_batches_that_a_gpu_fetches_by_itself_are_not_overwritten():
    device = torch.device("cuda")
    wanted = WANTED * 50
    busy = torch.rand(4096, 4096, device=device)
    there: list[torch.Tensor] = []
    for pixels, _ in cuts.loaded(wanted, image, side_px=SIDE_PX, workers=2, pinned=True):
        assert pixels.is_pinned()
        busy = busy @ busy / 4096  # the copy waits for this, and the next batches are loaded meanwhile
        there.append(pixels.to(device, non_blocking=True))
    for start in range(0, len(there), len(WANTED)):
        check([(pixels.cpu(), torch.from_numpy(SQUARES - np.tile(SQUARES[:, :2], 2))) for pixels in there[start:][:4]])


@pytest.mark.gpu
def test_batches_that_are_decoded_on_a_gpu_wait_for_no_other_work():
    device = torch.device("cuda")

    def on_gpu(images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        return [torch.from_numpy(image).to(device) for image in images]

    busy = torch.rand(4096, 4096, device=device)
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    for pixels, squares in cuts.decoded(WANTED, image, on_gpu, side_px=SIDE_PX, workers=2, device=device):
        busy = busy @ busy / 4096
        found.append((pixels.clone(), squares))
    check([(pixels.cpu(), squares) for pixels, squares in found])
