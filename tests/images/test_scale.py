import warnings

import numpy as np
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.scale import scale_intensities, to_uint16


@pytest.mark.parametrize(("low", "high", "key"), [(0.1, 99.9, "999"), (0.01, 99.99, "9999")])
def test_agrees_with_the_authors(parity, low, high, key):
    arrays = np.load(parity / "train/scale_intensities.npz")
    expected = arrays[f"out_{key}"]
    got = scale_intensities(arrays["input"], low, high)
    flat = np.isnan(expected).all(axis=(1, 2))
    assert flat.sum() == 1  # their constant channel is NaN, ours zero
    assert (got[flat] == 0).all()
    np.testing.assert_allclose(got[~flat], expected[~flat], atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(20))
def test_uint16_takes_numpys_percentiles(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 60, 2))
    image = rng.integers(0, rng.integers(2, 65537), shape).astype(np.uint16)
    low, high = np.sort(rng.uniform(0, 100, 2))
    bottom, top = np.percentile(image, [low, high])
    expected = (
        (np.clip(image.astype(float), bottom, top) - bottom) / (top - bottom)
        if top > bottom
        else np.zeros(shape)
    )
    np.testing.assert_allclose(scale_intensities(image, low, high), expected, atol=2e-6)


def test_range_type_and_input_left_alone():
    image = np.random.default_rng(0).integers(100, 9000, (5, 50, 70)).astype(np.uint16)
    before = image.copy()
    scaled = scale_intensities(image)
    assert scaled.dtype == np.float32
    assert scaled.shape == image.shape
    assert (scaled.min(axis=(1, 2)) == 0).all()
    assert (scaled.max(axis=(1, 2)) == 1).all()
    assert (image == before).all()


def test_channels_do_not_depend_on_each_other():
    image = np.random.default_rng(1).integers(0, 5000, (5, 40, 40)).astype(np.uint16)
    brighter = image.copy()
    brighter[3] *= 7
    np.testing.assert_array_equal(
        scale_intensities(image)[[0, 1, 2, 4]], scale_intensities(brighter)[[0, 1, 2, 4]]
    )


def test_an_affine_change_of_intensity_does_not_matter():
    image = np.random.default_rng(2).integers(0, 5000, (40, 40)).astype(np.uint16)
    np.testing.assert_allclose(
        scale_intensities(image), scale_intensities(image * 9 + 300), atol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_constant_channel_becomes_zeros_without_a_warning(dtype):
    image = np.full((5, 20, 20), 700, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (scale_intensities(image) == 0).all()


def test_percentiles_that_float32_cannot_tell_apart():
    image = 1e9 + np.random.default_rng(0).random((1, 9, 9))
    assert (scale_intensities(image) == 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_values_are_refused(bad):
    image = np.ones((2, 8, 8))
    image[1, 3, 3] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        scale_intensities(image)


@pytest.mark.parametrize(("low", "high"), [(99.9, 0.1), (-1, 50), (5, 101), (50, 50)])
def test_percentiles_must_make_sense(low, high):
    with pytest.raises(InputError, match="0 <= low < high <= 100"):
        scale_intensities(np.ones((4, 4)), low, high)


def test_to_uint16_rounds_and_clips():
    values = np.array([-0.1, 0, 0.4 / 65535, 0.6 / 65535, 1, 1.5], np.float32)
    assert to_uint16(values).tolist() == [0, 0, 0, 1, 65535, 65535]


def test_to_uint16_undoes_the_division():
    levels = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(to_uint16(levels.astype(np.float32) / 65535), levels)
