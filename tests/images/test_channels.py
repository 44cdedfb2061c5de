import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS, canonical_channel, channel_indices


def test_canonical_order_is_the_identity():
    assert channel_indices(CHANNELS) == [0, 1, 2, 3, 4]


def test_selection_is_by_name_whatever_the_order_and_case():
    stored = ["OrigDNA", "er", "Brightfield", "RNA", "AGP", "mito"]
    assert [stored[i] for i in channel_indices(stored)] == ["mito", "AGP", "RNA", "er", "OrigDNA"]


def test_names_of_other_screens():
    names = ["Hoechst", "ERSyto", "ERSytoBleed", "Ph_golgi", "Mito"]
    assert [canonical_channel(name) for name in names] == ["DNA", "ER", "RNA", "AGP", "Mito"]
    assert canonical_channel("IllumDNA") is None


def test_a_missing_channel_lists_both_sides():
    with pytest.raises(InputError, match=r"RNA.*found 0.*wanted: Mito.*available: Mito, AGP, DNA"):
        channel_indices(["Mito", "AGP", "DNA"])


def test_a_channel_that_is_there_twice_is_refused():
    with pytest.raises(InputError, match="DNA is needed once, found 2"):
        channel_indices(["DNA", "OrigDNA"], ["DNA"])
