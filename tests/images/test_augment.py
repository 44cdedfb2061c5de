import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from cpssl_lite.base.errors import InputError
from cpssl_lite.images import augment as A


def crops(n=6, c=5, h=40, w=48, seed=0) -> torch.Tensor:
    return torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(seed))


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


EVERY = {
    "flip": A.Flip(),
    "color": A.Color(),
    "color sometimes": A.Color(p=0.5),
    "drop_channel": A.DropChannel(),
    "noise": A.GaussianNoise(),
    "blur": A.GaussianBlur(),
    "resize": A.Resize(size=24),
    "resize sometimes": A.Resize(p=0.5, size=24),
    "resize the whole": A.Resize(p=0, size=40),
}


@pytest.fixture(scope="module")
def authors(parity):
    arrays = np.load(parity / "train/augment.npz")
    mean, sd = (torch.from_numpy(arrays[k])[:, None, None] for k in ("means", "sds"))
    x = torch.from_numpy(arrays["x"])[None]
    return arrays, x, lambda key: torch.from_numpy(arrays[key]) * sd + mean


@pytest.mark.parametrize("seed", range(8))
def test_flip_and_color_agree_with_the_authors(authors, seed):
    arrays, x, unnormalised = authors
    draws = torch.from_numpy(arrays[f"draws_seed{seed}"])[None]  # 2 flips, color, 5 + 5
    got = A.flip(x, draws[:, 0] < 0.5, draws[:, 1] < 0.5)
    got = A.gamma(A.shift(got, draws[:, 3:8]), draws[:, 8:])
    torch.testing.assert_close(
        got[0].double(), unnormalised(f"default_seed{seed}"), atol=1e-6, rtol=0
    )


def test_drop_channel_agrees_with_the_authors(authors):
    arrays, x, _ = authors
    dropped = torch.from_numpy(arrays["dropchannel_np_seed0"])
    channel = torch.tensor([int((dropped.amax((1, 2)) == 0).nonzero())])
    torch.testing.assert_close(A.drop_channel(x, channel)[0], dropped)


def test_noise_is_as_strong_and_as_unclipped_as_the_authors(authors):
    arrays, x, _ = authors
    theirs = torch.from_numpy(arrays["noise_default"]) - x[0]
    ours = A.GaussianNoise(p=1)(x, seeded())[0] - x[0]
    assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.03)
    assert (x[0] + theirs).min() < 0 and (x[0] + ours).min() < 0


@pytest.mark.parametrize("name", EVERY)
def test_input_is_left_alone_and_output_is_its_own(name):
    x = crops()
    before = x.clone()
    y = EVERY[name](x, seeded())
    assert torch.equal(x, before)
    y.fill_(7)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", EVERY)
def test_a_view_of_a_field_does_not_change_the_field(name):
    field = crops(1, 5, 80, 96)
    before = field.clone()
    views = field[:, :, 8:48, 8:56].expand(4, -1, -1, -1)
    EVERY[name](views, seeded()).mul_(0)
    assert torch.equal(field, before)


@pytest.mark.parametrize("name", EVERY)
def test_the_seed_decides(name):
    x = crops()
    one, two, other = (EVERY[name](x, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    if name != "resize the whole":
        assert not torch.equal(one, other)


@pytest.mark.parametrize("name", EVERY)
def test_global_random_state_is_not_touched(name):
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    EVERY[name](crops(), seeded())
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


@pytest.mark.parametrize("kind", [A.Flip, A.Color, A.DropChannel, A.GaussianNoise, A.GaussianBlur])
def test_probability_is_per_crop(kind):
    x = crops(400, 5, 24, 24) * 0.5 + 0.25
    assert torch.equal(kind(p=0)(x, seeded()), x)
    changed = (kind(p=0.3)(x, seeded()) != x).flatten(1).any(1).float().mean().item()
    expected = 1 - 0.7**2 if kind is A.Flip else 0.3
    assert changed == pytest.approx(expected, abs=0.07)
    # A blur with a sigma close to 0.1 is too small to show in a float.
    assert (kind(p=1)(x, seeded()) != x).flatten(1).any(1).float().mean() > 0.95


@pytest.mark.parametrize("name", [n for n in EVERY if n != "noise"])
def test_values_stay_within_0_and_1(name):
    for x in (crops(), torch.zeros(2, 5, 40, 40), torch.ones(2, 5, 40, 40)):
        y = EVERY[name](x, seeded())
        assert torch.isfinite(y).all()
        assert y.min() >= 0 and y.max() <= 1 + 1e-6
        assert y.dtype == torch.float32


def test_color_follows_noise_without_nan():
    y = A.Color()(A.GaussianNoise(p=1, sd=1.0)(crops(), seeded()), seeded())
    assert torch.isfinite(y).all()


def test_gamma_takes_values_from_outside_0_and_1():
    x = torch.tensor([-0.1, 0.25, 1.2]).reshape(1, 1, 1, 3)
    y = A.gamma(x, torch.tensor([[0.5]]))
    torch.testing.assert_close(y.flatten(), torch.tensor([0.0, 0.5, 1.0]))


def test_flip_mirrors():
    x = crops(4)
    yes, no = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    y = A.flip(x, yes, no)
    assert torch.equal(y[0], x[0].flip(-1, -2))
    assert torch.equal(y[1], x[1].flip(-1))
    assert torch.equal(y[2], x[2].flip(-2))
    assert torch.equal(y[3], x[3])


def test_color_draws_per_channel_within_its_range():
    x = torch.full((500, 5, 1, 1), 0.5)
    shifted = A.Color(gamma=(1, 1))(x, seeded())[:, :, 0, 0] - 0.5
    assert shifted.abs().max() <= 0.3 and shifted.abs().max() > 0.29
    assert shifted.std(0).min() > 0.15 and shifted.std(1).min() > 0
    exponent = A.Color(shift=0)(x, seeded())[:, :, 0, 0].log() / np.log(0.5)
    assert exponent.min() >= 0.5 - 1e-5 and exponent.max() <= 1.5 + 1e-5
    assert exponent.mean().item() == pytest.approx(1, abs=0.03)


def test_drop_channel_drops_one_and_each_as_often():
    dropped = A.DropChannel(p=1)(torch.ones(2000, 5, 2, 2), seeded()).sum((2, 3)) == 0
    assert (dropped.sum(1) == 1).all()
    assert dropped.float().mean(0).sub(0.2).abs().max() < 0.03


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_agrees_with_torchvision(sigma):
    x = crops(3)
    expected = reference.gaussian_blur(x, [23, 23], [sigma, sigma])
    torch.testing.assert_close(A.blur(x, torch.full((3,), sigma)), expected, atol=1e-5, rtol=0)


def test_blur_has_a_sigma_for_each_crop_and_keeps_a_constant():
    x = crops(2)
    both = A.blur(x, torch.tensor([0.5, 1.9]))
    torch.testing.assert_close(both[1:], A.blur(x[1:], torch.tensor([1.9])))
    flat = torch.full((1, 5, 30, 30), 0.4)
    torch.testing.assert_close(A.blur(flat, torch.tensor([2.0])), flat)


def test_blur_needs_room_for_its_kernel():
    with pytest.raises(InputError, match="23 px needs crops of over 11 px, got 8 x 40"):
        A.GaussianBlur()(crops(1, 5, 8, 40), seeded())


def test_resize_crop_agrees_with_torchvision():
    x = crops(2, 5, 90, 120)
    boxes = torch.tensor([[3, 7, 60, 50], [0, 0, 20, 30]])
    for image, box, got in zip(x, boxes.tolist(), A.resize_crop(x, boxes, 32), strict=True):
        expected = reference.resized_crop(image, *box, [32, 32], antialias=True)
        torch.testing.assert_close(got, expected)


def test_resize_takes_the_share_of_the_area_that_it_says():
    h, w = 300, 400
    # A ramp in each direction: the spread of values in the crop tells the box's size.
    rows, columns = torch.meshgrid(torch.arange(h) / h, torch.arange(w) / w, indexing="ij")
    x = torch.stack([rows, columns])[None].expand(200, -1, -1, -1)
    y = A.Resize(size=64)(x, seeded())
    sides = (y.amax((2, 3)) - y.amin((2, 3))) * 64 / 63
    share = sides.prod(1)
    assert share.min() > 0.11 and share.max() < 0.49
    assert share.min() < 0.15 and share.max() > 0.44
    ratio = sides[:, 1] * w / (sides[:, 0] * h)
    assert ratio.min() > 0.72 and ratio.max() < 1.38
    assert y.shape == (200, 2, 64, 64)


def test_resize_otherwise_is_a_plain_crop_from_anywhere():
    x = torch.arange(30 * 31.0).reshape(1, 1, 30, 31).expand(300, 1, 30, 31)
    y = A.Resize(p=0, size=28)(x, seeded())
    corner = y[:, 0, 0, 0].long()
    assert set((corner // 31).tolist()) == {0, 1, 2}
    assert set((corner % 31).tolist()) == {0, 1, 2, 3}
    row, column = int(corner[0] // 31), int(corner[0] % 31)
    assert torch.equal(y[0, 0], x[0, 0, row : row + 28, column : column + 28])


def test_resize_of_a_field_that_is_too_small():
    with pytest.raises(InputError, match="40 x 48 px is smaller than a crop of 224"):
        A.Resize()(crops(), seeded())


def test_resize_takes_a_share_of_the_field():
    with pytest.raises(InputError, match="scale is 12 to 47, expected shares from 0 to 1"):
        A.Resize(scale=(12, 47))
