import torch

from fabnet.modules.two_views import Projector


def test_agrees_with_the_layers_written_out():
    projector = Projector(embedding=6, outputs=5)
    given = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    inner, norm, _, outer = projector
    hidden = given @ inner.weight.T + inner.bias
    hidden = (hidden - hidden.mean(dim=0)) / (hidden.var(dim=0, correction=0) + norm.eps).sqrt()
    assert torch.allclose(projector(given), hidden.clamp(min=0) @ outer.weight.T + outer.bias, atol=1e-5)
