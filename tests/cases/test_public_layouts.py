"""Every checkpoint of the manifests, on a file of its layout made small: read right or refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.html import cell
from cpssl_lite.book.league import checkpoint_table
from cpssl_lite.book.standins import LAYOUTS, write_standin
from cpssl_lite.data.manifests import list_manifests
from cpssl_lite.models.checkpoints import load_encoder, random_like
from cpssl_lite.models.cloome import STAINS

MANIFESTS = [m["name"] for m in list_manifests() if m["kind"] == "checkpoint"]


def test_every_manifest_has_a_layout():
    assert set(MANIFESTS) <= set(LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_and_a_tensor_that_is_missing_is_named(tmp_path, layout):
    path = write_standin(layout, tmp_path)
    assert write_standin(layout, tmp_path / "again").read_bytes() == path.read_bytes()
    encoder = load_encoder(path)
    crops = torch.rand(3, len(encoder.channels), encoder.crop_size, encoder.crop_size)
    with torch.inference_mode():
        one, other = encoder(crops), random_like(encoder, 5)(crops)
    assert one.shape == other.shape == (3, encoder.n_features) and one.isfinite().all()
    assert (one.std(0) > 0).any() and not torch.allclose(one, other)
    assert encoder.card["format"].startswith("authors'") == layout.startswith("authors")
    content = LAYOUTS[layout]()
    state = content
    while not any(isinstance(value, torch.Tensor) for value in state.values()):
        state = next(state[key] for key in ("teacher", "model", "state_dict") if key in state)
    ends = ("norm1.bias", "layernorm_before.bias", "in_norm.bias", "bn1.bias")
    del state[next(name for name in state if name.endswith(ends))]
    torch.save(content, path)
    with pytest.raises(InputError, match=rf"{layout}\.pth: .*missing: .*(norm1|in_norm|bn1)\.bias"):
        load_encoder(path)


class Block(nn.Module):
    """CLOOME's: an average in the place of a stride, in both branches."""

    def __init__(self, wide, planes, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(wide, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3, self.stride = nn.BatchNorm2d(4 * planes), stride
        if stride > 1 or wide != 4 * planes:
            conv = nn.Conv2d(wide, 4 * planes, 1, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(4 * planes))

    def forward(self, x):
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        y = self.bn3(self.conv3(F.avg_pool2d(y, self.stride)))
        if hasattr(self, "downsample"):
            x = self.downsample(F.avg_pool2d(x, self.stride))
        return F.relu(x + y)


class Reference(nn.Module):
    """The image encoder as its authors describe it, with `planes` for their 64."""

    def __init__(self, planes, layers, out):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(5, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        wide = 64
        for i, n in enumerate(layers):
            blocks = []
            for j in range(n):
                blocks.append(Block(wide, planes * 2**i, 2 if i and not j else 1))
                wide = 4 * planes * 2**i
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(wide, out)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = F.avg_pool2d(x, min(7, x.shape[-1]), 1)
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("size", [72, 96, 288])
@torch.no_grad()
def test_cloome_gives_what_its_code_gives(tmp_path, size):
    torch.manual_seed(0)
    reference = Reference(8, (2, 1, 1, 1), 24).eval()
    for part in reference.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            part.weight.uniform_(0.5, 2)
    state = {f"module.visual.{k}": v for k, v in reference.state_dict().items()}
    molecules = {"module.transformer.layers.0.0.weight": torch.ones(2, 2)}
    torch.save({"state_dict": {**state, **molecules}, "epoch": 3}, tmp_path / "c.pt")
    encoder = load_encoder(tmp_path / "c.pt")
    assert encoder.channels == STAINS == ("Mito", "ER", "RNA", "AGP", "DNA")
    assert encoder.card["dropped"] == ["transformer.layers.0.0.weight"]
    crops = torch.rand(2, 5, size, size)
    mean = torch.tensor([47.1314, 40.8138, 53.7692, 46.2656, 28.7243]).reshape(1, 5, 1, 1)
    expected = reference((255 * crops - mean) / mean)
    assert torch.allclose(encoder(crops), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer1.9.conv2.weight": torch.ones(1)}, r"layer1\.9\.conv2\.weight is \(1,\), expected"),
        ({"layer2.5.bn1.weight": torch.ones(1)}, r"layer2\.5\.conv2\.weight is missing, expected"),
        ({"layer1.0.conv2.weight": torch.ones(8)}, r"have the shapes .*\(8,\)"),
        ({"fc.more": torch.ones(1)}, "unexpected: network.fc.more"),
        ({"conv1.weight": torch.ones(64, 3, 7, 7)}, "takes 3 channels, 5 are named"),
    ],
)
def test_a_cloome_that_is_none_is_one_line(tmp_path, change, message):
    content = LAYOUTS["cloome"]()
    content["state_dict"] |= {f"module.visual.{name}": value for name, value in change.items()}
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(InputError, match=rf"c\.pth: .*{message}") as caught:
        load_encoder(tmp_path / "c.pth")
    assert "\n" not in str(caught.value)


def test_the_books_table_tells_what_was_tried():
    page = checkpoint_table()
    for manifest in list_manifests():
        if manifest["kind"] == "checkpoint":
            assert cell(manifest["licence"]) in page
    assert page.count("a small file of its layout loads") == len(MANIFESTS)
    assert page.count("a file of its size with random weights loads") == 2
    assert page.count("not verified: ") == len(MANIFESTS) + 2
