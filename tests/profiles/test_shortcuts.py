"""What counts and positions alone find of what was planted; what regression takes away."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.data.simulate.layout import SCREENS, layout
from cpssl_lite.data.simulate.tables import truth
from cpssl_lite.profiles.evidence import evidence
from cpssl_lite.profiles.shortcuts import (
    from_numbers,
    grid_position,
    intensities,
    neighbours,
    on_arcs,
    position,
    regressed,
)
from cpssl_lite.profiles.table import feature_columns


@pytest.fixture(scope="module")
def planted():
    """The wells of the drawn screen, without its images: features that see shape and density.

    And the number of cells in each well, and what was drawn of each perturbation.
    """
    screen = replace(SCREENS["lite"], count_strength=2.0)
    rng = np.random.default_rng(0)
    wells = layout(screen, 0)
    drawn = truth(screen, 0, wells, [[0]] * len(wells))
    cells = rng.poisson(4 * drawn["well_cell_count"])
    shape = drawn.filter(like="well_").drop(columns="well_cell_count")
    shape = ((shape - shape.mean()) / shape.std()).to_numpy()
    density = np.log2(cells + 1) - np.log2(35)
    values = shape @ rng.standard_normal((shape.shape[1], 24)) / 5
    values += np.outer(density, rng.standard_normal(24)) + 0.7 * np.outer(density**2, np.ones(24))
    values += 0.1 * rng.standard_normal(values.shape)
    head = drawn.filter(like="Metadata_")
    table = pd.concat([head, pd.DataFrame(values).add_prefix("emb_")], axis=1)
    each = drawn.drop_duplicates("Metadata_Perturbation").set_index("Metadata_Perturbation")
    each = each.filter(like="compound_").sub(each.loc["DMSO"].filter(like="compound_"))
    fewer = each.pop("compound_cell_count") != 0
    moved = (each != 0).any(axis=1)
    kind = np.select([fewer & ~moved, moved & ~fewer], ["count only", "count free"], "other")
    return table, np.log2(cells + 1), pd.Series(kind, each.index)


def found(table, kind):
    """Share that differs from the controls, of what was planted."""
    rows = evidence(table)[1].set_index("Metadata_Perturbation")
    return rows["active"].astype(float).groupby(kind).mean()


def test_count_finds_what_moves_the_count_and_nothing_else(planted):
    table, count, kind = planted
    by_count = found(from_numbers(table.filter(like="Metadata_"), count), kind)
    by_features = found(table, kind)
    assert by_count["count only"] == 1 and by_count["count free"] < 0.1
    assert by_features["count only"] == 1 and by_features["count free"] > 0.6


def test_regression_takes_what_the_count_explains_and_nothing_else(planted):
    table, count, kind = planted
    before, after = found(table, kind), found(regressed(table, count), kind)
    assert before["count only"] == 1 and after["count only"] <= 0.25
    assert after["count free"] > before["count free"] - 0.05
    # A straight line is not enough where features bend: that is what the degree is for.
    assert found(regressed(table, count, degree=1), kind)["count only"] == 1


def test_wells_without_a_count_are_left_out(planted):
    table, count, _ = planted
    missing = np.where(np.arange(len(count)) < 3, np.nan, count)
    assert len(regressed(table, missing)) == len(table) - 3


def test_arcs_rank_by_difference():
    numbers = np.random.default_rng(1).standard_normal(30)
    table = on_arcs(pd.DataFrame({"Metadata_Well": ["A01"] * 30}), numbers)
    values = table[feature_columns(table)].to_numpy()
    nearest = np.argsort(-values @ values.T, axis=1)
    assert (nearest == np.argsort(np.abs(numbers[:, None] - numbers), axis=1)).all()


def test_position_finds_replicates_that_share_a_layout_and_no_others(planted):
    numbers, _ = evidence(position(planted[0].filter(like="Metadata_")))
    # Both plates of a batch have one layout: of the seven other wells at a place one is right.
    assert numbers["perturbation_recall1_nr"] > 0.2
    assert numbers["perturbation_recall1_nsb"] < 0.05
    assert numbers["perturbation_recall1_nsl"] < 0.05


def test_neighbours_know_the_wells_around_and_not_the_well():
    names = [f"{row}{column:02d}" for row in "ABC" for column in (1, 2, 3)]
    head = pd.DataFrame({"Metadata_Well": [*names, "H12"], "Metadata_Plate": "P"})
    table = head.assign(emb_0=[*range(9), 100.0])
    beside = neighbours(table).set_index("Metadata_Well").iloc[:, -1]
    assert beside["B02"] == np.mean([1, 3, 5, 7]) and beside["A01"] == np.mean([1, 3])
    table.loc[table["Metadata_Well"] == "B02", "emb_0"] = -50
    assert neighbours(table).set_index("Metadata_Well").iloc[:, -1]["B02"] == beside["B02"]
    assert "H12" not in beside


def test_names_of_wells():
    assert grid_position(np.array(["A1", "b12", "AA03"])).tolist() == [[1, 1], [2, 12], [27, 3]]
    with pytest.raises(InputError, match="well 'x' is not"):
        grid_position(np.array(["A01", "x"]))


def test_intensities_are_those_of_whole_cells():
    names = [f"Cells_Intensity_IntegratedIntensity{part}" for part in ("_DNA", "_ER", "Edge_ER")]
    table = pd.DataFrame([[1.0, 2.0, 3.0, 4.0]], columns=[*names, "Nuclei_AreaShape_Area"])
    assert intensities(table).tolist() == [[0, 1]]
    assert intensities(-table).tolist() == [[-1, -2]], "normalised ones stay as they are"
    assert intensities(table[["Nuclei_AreaShape_Area"]]) is None
