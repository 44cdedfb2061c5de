"""What tables leave unsaid about their wells: source of a plate, cells, a choice made before."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.book.facts import cell_counts
from cpssl_lite.book.features import load_features
from cpssl_lite.book.wells import complete, replicates_filtered
from cpssl_lite.data.manifests import FOLDER
from cpssl_lite.profiles.counts import count_cells
from cpssl_lite.profiles.table import write_profiles


def wells(plates: list[str], **columns: object) -> pd.DataFrame:
    head = {"Metadata_Plate": plates, "Metadata_Well": [f"A{i:02d}" for i in range(len(plates))]}
    return pd.DataFrame(head | {"Metadata_Perturbation": "a", "Metadata_Control": ""} | columns)


def test_sources_follow_from_the_names_of_plates() -> None:
    index = pd.read_parquet(FOLDER / "jump_all.parquet").drop_duplicates("Metadata_Source")
    plates, sources = (index[f"Metadata_{c}"].tolist() for c in ("Plate", "Source"))
    made = complete({"all": wells(plates), "one": wells([*plates[:2], "mine"])})
    assert made["all"]["Metadata_Source"].tolist() == sources
    assert "Metadata_Source" not in made["one"], "one plate is nobody's: none is guessed"
    said = complete({"x": wells(plates[:1], Metadata_Source=["lab"])})["x"]
    assert said["Metadata_Source"].tolist() == ["lab"]


def test_cells_are_counted_by_whichever_column_says_it() -> None:
    for columns, expected in (
        ({"Metadata_Count_Cells": ["3", ""], "Image_Count_Cells": [9, 9]}, [3, np.nan]),
        ({"Metadata_Object_Count": ["684", "499"]}, [684, 499]),
        ({"Image_Count_Cells": [70.5, 12.0]}, [70.5, 12]),
        ({"Cells_Number_Object_Number": [25.5, 1.0]}, [50, 1]),
        ({"Nuclei_Number_Object_Number": [-0.3, 2.1]}, None),  # normalised: no count
        ({"Cells_AreaShape_Area": [1, 2]}, None),
    ):
        found = count_cells(pd.DataFrame(columns))
        assert (found is None) == (expected is None)
        if expected is not None:
            np.testing.assert_array_equal(found, expected)


def test_counts_of_another_table_are_taken_well_by_well(tmp_path: Path) -> None:
    counted = wells(["P"] * 3, Metadata_Object_Count=["10", "20", "30"], Cells_a=1.0)
    write_profiles(counted, tmp_path / "counts.parquet", {})
    learned = wells(["P"] * 4, emb_0=1.0).iloc[[3, 1, 0]]
    learned.to_csv(tmp_path / "learned.csv", index=False)
    given = {"Mine": str(tmp_path / "learned.csv")}
    features = load_features(profiles=given, counts=str(tmp_path / "counts.parquet"), method="none")
    np.testing.assert_array_equal(features.raw["Mine"]["Metadata_Count_Cells"], [np.nan, 20, 10])
    assert "Metadata_Count_Cells" not in load_features(profiles=given, method="none").raw["Mine"]


def test_counts_of_other_plates_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counted = wells(["Q"] * 3, Metadata_Object_Count=["10", "20", "30"], Cells_a=1.0)
    write_profiles(counted, tmp_path / "counts.parquet", {})
    wells(["P"] * 3, emb_0=1.0).to_csv(tmp_path / "learned.csv", index=False)
    given = {"Mine": str(tmp_path / "learned.csv")}
    features = load_features(profiles=given, counts=str(tmp_path / "counts.parquet"), method="none")
    assert cell_counts(features, "Metadata_Count_Cells").empty, "so that figures are left out"
    assert "Mine: cell counts are of other wells (first: plate Q, here P)" in caplog.text


def test_orfs_that_were_chosen_are_not_chosen_again() -> None:
    index = pd.read_parquet(FOLDER / "jump_orf.parquet")
    table = index.rename(columns={"Metadata_JCP2022": "Metadata_Perturbation"})
    controls = table["Metadata_Perturbation"].between("JCP2022_915128", "JCP2022_915131")
    table["Metadata_Control"] = np.where(controls, "negcon", "")
    names = table["Metadata_Perturbation"].drop_duplicates().sample(1970, random_state=0)
    assert replicates_filtered(table[table["Metadata_Perturbation"].isin(names)])
    assert not replicates_filtered(table)
    assert not replicates_filtered(table.assign(Metadata_Plate="mine"))
