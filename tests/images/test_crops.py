import json

import numpy as np
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.otsu import otsu_threshold

CASES = "c112_s112 c112_s56 c112_s112_area10 c224_s224 c112_ratio1 otsu_none_chan4 allempty"


@pytest.fixture(scope="module")
def authors(parity):
    cases = json.loads((parity / "train/cellcrops_cases.json").read_text())
    return cases, np.load(parity / "train/cellcrops.npz")


@pytest.mark.parametrize("case", CASES.split())
def test_selection_agrees_with_the_authors(authors, case):
    cases, arrays = authors
    args, field = cases[case]["args"], arrays["img"]
    size = args["crop_size"]
    corners = grid(*field.shape[1:], size, args["stride"])
    threshold = args["otsuth"] if args["otsuth"] is not None else otsu_threshold(field[4])
    share = foreground_share(field[4], threshold, corners, size, args.get("otsu_thresh_ratio", 0.7))
    counts = np.zeros(len(corners), int)
    counts[select(share, args.get("min_area_ratio", 0.01))] = 1
    assert counts.tolist() == cases[case]["labels"]
    means = cut(field, corners, size).mean(axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(means, arrays[f"cropmean_{case}"], rtol=1e-5)


def test_boundaries_agree_with_the_authors(authors):
    cases, _ = authors
    corners = grid(200, 200, 100)
    for pixels, labels in cases["boundary_1pct_of_100x100"]:
        dna = np.zeros((200, 200), np.float32)
        dna[:100, :100].flat[:pixels] = 1
        dna[100:, 100:] = 1
        passed = select(foreground_share(dna, 0.5, corners, 100))
        assert passed.tolist() == np.flatnonzero(labels).tolist(), pixels


def test_pixels_equal_to_the_threshold_do_not_count():
    dna = np.full((4, 4), 0.7 * 0.5, np.float32)
    assert foreground_share(dna, 0.5, grid(4, 4, 4), 4).tolist() == [0]
    levels = np.full((4, 4), 12345, np.uint16)
    equal = float(np.float32(12345) / np.float32(65535))
    assert foreground_share(levels, equal, grid(4, 4, 4), 4, factor=1).tolist() == [0]
    assert foreground_share(levels + np.uint16(1), equal, grid(4, 4, 4), 4, factor=1).tolist() == [
        1
    ]


@pytest.mark.parametrize(
    ("height", "width", "size", "stride", "shape"),
    [
        (1080, 1080, 224, None, (4, 4)),
        (520, 696, 224, None, (2, 3)),
        (696, 520, 224, None, (3, 2)),
        (540, 540, 112, 56, (8, 8)),
        (224, 224, 224, None, (1, 1)),
        (500, 300, 100, 150, (3, 2)),
    ],
)
def test_grid_of_any_field(height, width, size, stride, shape):
    corners = grid(height, width, size, stride)
    step = stride or size
    expected = [[r * step, c * step] for r in range(shape[0]) for c in range(shape[1])]
    assert corners.tolist() == expected
    assert (corners + size <= [height, width]).all()
    assert corners[-1, 0] + step + size > height  # one more would not fit
    assert corners[-1, 1] + step + size > width


@pytest.mark.parametrize(("height", "width"), [(223, 500), (500, 223)])
def test_field_smaller_than_a_crop(height, width):
    with pytest.raises(InputError, match=f"{height} x {width} px is smaller than a crop of 224"):
        grid(height, width, 224)


@pytest.mark.parametrize(("size", "stride"), [(0, None), (10, 0), (-3, 5)])
def test_size_and_stride_must_be_positive(size, stride):
    with pytest.raises(InputError, match="positive"):
        grid(100, 100, size, stride)


def test_cut_takes_the_right_pixels():
    field = np.arange(2 * 50 * 70, dtype=np.uint16).reshape(2, 50, 70)
    corners = grid(50, 70, 20, 7)
    crops = cut(field, corners, 20)
    assert crops.shape == (len(corners), 2, 20, 20)
    for crop, (row, column) in zip(crops, corners, strict=True):
        np.testing.assert_array_equal(crop, field[:, row : row + 20, column : column + 20])
    crops[:] = 0
    assert field.any()  # a copy, not a view
    assert cut(field, corners[:0], 20).shape == (0, 2, 20, 20)


@pytest.mark.parametrize("seed", range(5))
def test_share_equals_the_plain_count_for_both_number_types(seed):
    rng = np.random.default_rng(seed)
    dna = rng.integers(0, 65536, (90, 130), dtype=np.uint16)
    corners, threshold = grid(90, 130, 32, 13), rng.uniform(0, 1)
    plain = [np.mean(dna[r : r + 32, c : c + 32] / 65535 > 0.7 * threshold) for r, c in corners]
    np.testing.assert_allclose(foreground_share(dna, threshold, corners, 32), plain)
    as_floats = dna.astype(np.float32) / np.float32(65535)
    np.testing.assert_allclose(foreground_share(as_floats, threshold, corners, 32), plain)


def test_share_falls_as_the_factor_grows():
    dna = np.random.default_rng(0).random((64, 64))
    corners = grid(64, 64, 32)
    released, text = (foreground_share(dna, 0.6, corners, 32, f) for f in (0.7, 1.0))
    assert (released > text).all()


@pytest.mark.parametrize("n", [1, 2, 4, 16, 35])
def test_the_crop_in_the_middle_of_the_list_counts_when_none_passes(n):
    assert select(np.zeros(n)).tolist() == [n // 2]
