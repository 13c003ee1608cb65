import pytest

from fabnet.pretext import fabnet, fabnet_sources


def test_a_sampler_with_another_first_activation_is_refused():
    trained = fabnet.build(fabnet.Params(width=4, embedding=6, slope=0.2), size_px=32)
    method = fabnet_sources.SeveralSources(fabnet_sources.Params(width=4, embedding=6, sources=3), size_px=32)
    with pytest.raises(ValueError, match="it should start from a network whose slope is 0"):
        fabnet_sources.start_from(method, trained)
