from pathlib import Path

import pandas as pd

from cpssl_lite.base.made import Recipe
from cpssl_lite.profiles.plates import plates_of


def plates(*keys):
    names = ("Metadata_Source", "Metadata_Batch", "Metadata_Plate")
    images = pd.DataFrame(keys, columns=list(names)).assign(Metadata_Well="A01")
    return plates_of(images, Path("parts"), Recipe("extract", {}))


def test_a_batch_that_is_its_plate_is_said_once():
    (plate,) = plates(("source_4", "BR00117010", "BR00117010"))
    assert plate.name == "source_4_BR00117010"
    assert plate.file.name.startswith("source_4_BR00117010-")


def test_all_that_tells_plates_apart_is_said():
    named = [plate.name for plate in plates(("s", "b1", "P"), ("s", "b2", "P"), ("", "b2", "Q"))]
    assert sorted(named) == ["b2_Q", "s_b1_P", "s_b2_P"]


def test_plates_never_share_a_file_not_even_if_they_are_called_the_same():
    shared = plates(("a", "b", "b"), ("a", "a", "b"), ("a_b", "", "b"), ("a", "b/", "b-"))
    assert len({plate.file for plate in shared}) == len(shared) == 4
    assert all("/" not in plate.file.name for plate in shared)
