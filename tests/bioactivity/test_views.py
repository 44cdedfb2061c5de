import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.bioactivity.views import find_nuclei, read_cells, read_views, resize
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.tiff import Field, write_merged


def field(nuclei, size=128):
    pixels = np.full((5, size, size), 2000, np.uint16)
    y, x = np.ogrid[:size, :size]
    for row, column, radius in nuclei:
        pixels[4][(y - row) ** 2 + (x - column) ** 2 <= radius**2] = 50000
    return Field(pixels, 0.4, CHANNELS)


def test_nuclei_largest_first_with_room_for_a_crop():
    drawn = field([(40, 40, 6), (90, 80, 9), (10, 60, 9), (64, 110, 1)])
    assert find_nuclei(drawn, 32).tolist() == [[90, 80], [40, 40]]
    assert find_nuclei(field([]), 32).shape == (0, 2)


def test_resize_averages_areas():
    x = np.arange(5 * 8 * 8, dtype=np.uint16).reshape(5, 8, 8) * 200
    expected = x.reshape(5, 4, 2, 4, 2).mean(axis=(2, 4)) / 257
    assert resize(x, 4).tolist() == np.rint(expected).tolist()


@pytest.fixture
def images(tmp_path):
    files = []
    for i, nuclei in enumerate([[(40, 40, 6), (90, 80, 9)], [], [(64, 64, 8)]]):
        drawn = field(nuclei)
        files.append(str(tmp_path / f"{i}.tiff"))
        write_merged(files[-1], drawn.pixels, drawn.otsu)
    return pd.DataFrame({"FileName_Merged": files})


def test_views_and_cells_say_which_field_they_are_of(images):
    pixels, rows = read_views(images, 64)
    assert pixels.shape == (3, 5, 64, 64) and pixels.dtype == np.uint8
    assert rows.tolist() == [0, 1, 2]
    pixels, rows = read_cells(images, size=16, width=32)
    assert pixels.shape == (3, 5, 16, 16) and rows.tolist() == [0, 0, 2]
    assert (pixels[:, 4, 8, 8] > 190).all()  # the nucleus is in the middle
    assert read_cells(images, size=16, width=32, at_most=1)[1].tolist() == [0, 2]
    with pytest.raises(InputError, match="no nucleus"):
        read_cells(images[1:2])
