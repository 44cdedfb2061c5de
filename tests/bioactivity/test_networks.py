import numpy as np
import pytest
import torch

from cpssl_lite.base.errors import InputError
from cpssl_lite.bioactivity.networks import MCNN, GapNet, MILNet, SingleCellNet
from cpssl_lite.bioactivity.presets import CNNS, FULL, PRESETS, build


def inputs(method, preset):
    if method == "FNN":
        return torch.Size([50])
    size = 32 if method == "SC-CNN" else 256 if preset == "full" else 128
    return torch.Size([5, size, size])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", FULL)
def test_every_network_gives_a_logit_per_assay(method, preset):
    shape = inputs(method, preset)
    network = build(method, PRESETS[preset][method], shape, 7, seed=0).eval()
    with torch.no_grad():
        output = network(torch.randn(2, *shape))
    outputs = output if isinstance(output, tuple) else (output,)
    assert [tuple(o.shape) for o in outputs] == [(2, 7)] * (2 if method == "MIL-Net" else 1)


def test_sizes_of_the_features():
    x = torch.randn(1, 5, 256, 256)
    with torch.no_grad():
        assert GapNet(5, 3).features(x).shape == (1, 480)
        assert MCNN(5, 3).features(x).shape == (1, 208, 4, 4)


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_layers_as_published():
    def size(method, assays=209):
        return count(build(method, FULL[method], inputs(method, "full"), assays, 0))

    widths = [384, 2048, 2048, 2048, 209]
    fnn = build("FNN", FULL["FNN"], torch.Size([384]), 209, 0)
    linear = [m for m in fnn.modules() if isinstance(m, torch.nn.Linear)]
    dropout = [m.p for m in fnn.modules() if isinstance(m, torch.nn.Dropout)]
    assert [linear[0].in_features, *(m.out_features for m in linear)] == widths
    assert dropout == [0.1, 0.5, 0.5, 0.5]
    # torchvision's and timm's numbers for 1000 classes and 3 channels, moved to 209 and 5.
    assert size("ResNet") == 44_549_160 + 2 * 64 * 49 - 791 * 2049
    assert size("DenseNet") == 7_978_856 + 2 * 64 * 49 - 791 * 1025


def test_sc_cnn_is_gapnet_without_dilation():
    assert count(SingleCellNet(5, 3)) == count(GapNet(5, 3))
    gaps = [m.dilation[0] for m in GapNet(5, 3).stages[3].modules() if hasattr(m, "dilation")]
    assert gaps == [2, 2, 4]
    assert all(
        m.dilation == (1, 1)
        for m in SingleCellNet(5, 3).modules()
        if hasattr(m, "stride") and isinstance(m, torch.nn.Conv2d)
    )


def test_noisy_and_is_0_where_nothing_and_1_where_everything_is_active():
    network = MILNet(5, 2)
    for level in (0.0, 1.0):
        network.maps = torch.nn.Sequential(torch.nn.Identity())
        _, pooled = network(torch.full((1, 2, 4, 4), level))
        assert pooled.detach().numpy() == pytest.approx(np.full((1, 2), level), abs=1e-6)


def test_the_seed_draws_the_weights():
    first, again, other = (
        build("GapNet", PRESETS["small"]["GapNet"], torch.Size([5, 64, 64]), 2, seed).state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_images_too_small():
    with pytest.raises(InputError, match="M-CNN: images of 32 x 32 px are too small"):
        build("M-CNN", FULL["M-CNN"], torch.Size([5, 32, 32]), 2, 0)


def test_six_image_networks():
    assert set(CNNS) == {"ResNet", "DenseNet", "GapNet", "MIL-Net", "M-CNN", "SC-CNN"}
