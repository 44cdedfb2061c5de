"""Fields as Zarr arrays: the same pixels, and damage that is told."""

import shutil

import numpy as np
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.tiff import read_header, read_merged
from cpssl_lite.images.zarrs import write_zarr

pytest.importorskip("zarr", minversion="3")


def test_a_field_comes_back_with_its_threshold_and_channels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65535, (5, 40, 60), dtype=np.uint16)
    pixels[2] = 0  # a dark channel is written, too
    write_zarr(tmp_path / "a.zarr", pixels, 0.25, ("DNA", "ER", "RNA", "AGP", "Mito"))
    field = read_merged(tmp_path / "a.zarr")
    assert np.array_equal(field.pixels, pixels[::-1]) and field.otsu == 0.25
    assert read_header(tmp_path / "a.zarr")[0] == (5, 40, 60)


def test_missing_or_damaged_arrays_are_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_merged(tmp_path / "none.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match="not a readable Zarr"):
        read_merged(tmp_path / "empty.zarr")
    write_zarr(tmp_path / "b.zarr", np.ones((5, 8, 8), np.uint16), 0.1)
    shutil.rmtree(next((tmp_path / "b.zarr").glob("c/3")))
    with pytest.raises(InputError, match="blocks are missing"):
        read_merged(tmp_path / "b.zarr")
    with pytest.raises(InputError, match="5 channels expected"):
        write_zarr(tmp_path / "c.zarr", np.ones((3, 8, 8), np.uint16), 0.1)
        read_merged(tmp_path / "c.zarr")
