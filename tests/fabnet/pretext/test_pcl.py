import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fabnet.pretext import pcl
from fabnet.pretext.pcl import PCL, Params

PARAMS = Params(
    width=4, embedding=6, projection=5, temperature=0.5,
    reconstruction=2.0, orthogonality=3.0, pose_contrast=5.0, face_contrast=7.0,
)  # fmt: skip


def network(params: Params = PARAMS, *, size_px: int = 32) -> PCL:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PCL(params, size_px=size_px)


def frames(count: int, size_px: int = 32) -> Tensor:
    return torch.rand(count, 1, 3, size_px, size_px, generator=torch.Generator().manual_seed(1))


def vectors(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def slow_correlation(pose: list[list[float]], face: list[list[float]]) -> float:
    centred: list[list[list[float]]] = []
    for part in (pose, face):
        means = [sum(column) / len(part) for column in zip(*part, strict=True)]
        rows = [[value - mean for value, mean in zip(row, means, strict=True)] for row in part]
        centred.append([[value / (math.sqrt(sum(v * v for v in row)) + 1e-6) for value in row] for row in rows])
    total = 0.0
    for i in range(len(pose[0])):
        for j in range(len(face[0])):
            total += sum(a[i] * b[j] for a, b in zip(*centred, strict=True)) ** 2
    return total / len(pose[0]) / len(face[0])


def slow_pose_contrast(one: list[list[float]], other: list[list[float]], mirrored: list[list[float]]) -> float:
    total = 0.0
    for a, b, c in zip(one, other, mirrored, strict=True):
        for anchor, partner in ((a, b), (b, a)):
            right, wrong = (math.exp(cosine(anchor, choice) / 0.5) for choice in (partner, c))
            total -= math.log(right / (right + wrong))
    return total / len(one) / 2


def slow_face_contrast(one: list[list[float]], other: list[list[float]]) -> float:
    views, count, total = one + other, len(one), 0.0
    for i, anchor in enumerate(views):
        scores = {k: math.exp(cosine(anchor, view) / 0.5) for k, view in enumerate(views) if k != i}
        total -= math.log(scores[(i + count) % len(views)] / sum(scores.values()))
    return total / len(views)


def test_correlation_agrees_with_a_loop():
    pose, face = vectors(2, 5, 3)
    assert pcl.correlation(pose, face).item() == pytest.approx(slow_correlation(pose.tolist(), face.tolist()))


def test_parts_that_do_not_vary_together_are_not_correlated():
    pose = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    face = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, -1.0], [0.0, -1.0]])
    assert pcl.correlation(pose, face) < 1e-9
    assert pcl.correlation(pose, pose) > 1


def test_contrasts_agree_with_loops():
    one, other, mirrored = vectors(3, 4, 5)
    pose = pcl.pose_contrast(one, other, mirrored, temperature=0.5)
    assert pose.item() == pytest.approx(slow_pose_contrast(one.tolist(), other.tolist(), mirrored.tolist()))
    face = pcl.face_contrast(one, other, temperature=0.5)
    assert face.item() == pytest.approx(slow_face_contrast(one.tolist(), other.tolist()))


def test_the_loss_agrees_with_a_loop_over_samples():
    net, batch = network().double().eval(), frames(3).double()
    with torch.inference_mode():
        losses = net.losses(batch)
        numbers = net.draws(3, 3 * pcl.DRAWN).unflatten(1, (3, pcl.DRAWN))
        rows: dict[str, list[list[float]]] = {}
        reconstruction = 0.0
        for number, frame in enumerate(batch[:, 0]):
            mirrored = torch.stack([frame[:, :, column] for column in reversed(range(32))], dim=2)
            views = [frame, mirrored]
            for view, image in enumerate((frame, frame, mirrored)):
                views.append(pcl.altered(image[None], numbers[number : number + 1, view])[0])
            embeddings = [net.encoder(view[None]).flatten() for view in views]
            poses, faces = [vector[:3] for vector in embeddings], [vector[3:] for vector in embeddings]
            for pose, image in zip(poses[:2], views[:2], strict=True):
                code = pose + faces[0]
                rebuilt = (net.decoder((code / code.norm())[None, :, None, None])[0] + 1) / 2
                reconstruction += (rebuilt - image).abs().sum().item() / image.numel() / 6
            for view in range(5):
                rows.setdefault(f"pose{view}", []).append(poses[view].tolist())
                rows.setdefault(f"face{view}", []).append(faces[view].tolist())
            for view in (2, 3, 4):
                rows.setdefault(f"of_pose{view}", []).append(net.of_pose(poses[view][None])[0].tolist())
                rows.setdefault(f"of_face{view}", []).append(net.of_face(faces[view][None])[0].tolist())
    expected = {
        "reconstruction": reconstruction,
        "orthogonality": sum(slow_correlation(rows[f"pose{view}"], rows[f"face{view}"]) for view in (0, 1)),
        "pose_contrast": slow_pose_contrast(*(rows[f"of_pose{view}"] for view in (2, 3, 4))),
        "face_contrast": slow_face_contrast(*(rows[f"of_face{view}"] for view in (2, 3))),
    }
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, rel=1e-5), name
    weighted = sum(getattr(PARAMS, name) * value for name, value in expected.items())
    assert losses["loss"].item() == pytest.approx(weighted, rel=1e-5)


def test_a_neutral_alteration_returns_the_image():
    whole = torch.tensor([[1.0, 0.3, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5]])
    image = frames(1)[:, 0]
    torch.testing.assert_close(pcl.altered(image, whole), image, atol=1e-5, rtol=0)


def test_a_crop_takes_a_square_within_the_image():
    image = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    left, right = (
        pcl.altered(image, torch.tensor([[0.0, x, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]]))[0, 0, 0] for x in (0.0, 1.0)
    )
    assert left[0] < 0.01
    assert abs(left[-1] - 0.8) < 0.03
    assert abs(right[0] - 0.2) < 0.03
    assert right[-1] > 0.99


def test_a_grey_image_has_no_colours():
    numbers = torch.tensor([[0.5, 0.5, 0.5, 0.9, 0.0, 0.1, 0.5, 0.9]])
    grey = pcl.altered(frames(1)[:, 0], numbers)
    assert torch.equal(grey[:, 0], grey[:, 2])
    numbers[:, 4] = pcl.GREY
    coloured = pcl.altered(frames(1)[:, 0], numbers)
    assert not torch.equal(coloured[:, 0], coloured[:, 2])


@pytest.mark.parametrize("size_px", [64, 128, 256])
def test_the_loss_is_finite_at_every_size(size_px: int):
    assert network(size_px=size_px).losses(frames(2, size_px))["loss"].isfinite()


def test_gradients_reach_every_weight():
    net = network()
    net.losses(frames(3))["loss"].backward()
    gradients = {name: weight.grad for name, weight in net.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []


def test_training_alters_a_frame_anew_in_each_step_and_validation_does_not():
    net = network()
    for weight in net.parameters():
        weight.requires_grad = False
    face = [net.losses(frames(4))["face_contrast"].item() for _ in range(2)]
    assert face[0] != face[1]
    net.eval()
    assert net.losses(frames(4)) == net.losses(frames(4))


def test_the_parts_share_the_embedding():
    assert network().parts == {"pose": (0, 3), "face": (3, 6)}
    assert pcl.problem(PARAMS) is None
    assert pcl.problem(replace(PARAMS, embedding=7)) == "embedding should be even, found 7"


def test_a_temperature_of_zero_is_refused():
    assert pcl.problem(replace(PARAMS, temperature=0.0)) == "temperature should be above 0, found 0"


def test_a_few_steps_bring_the_loss_down():
    net, batch = network(), frames(6)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    history: list[float] = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = net.losses(batch)["loss"]
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert sum(history[-3:]) < 0.9 * sum(history[:3])
