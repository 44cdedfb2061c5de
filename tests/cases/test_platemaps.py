"""What is in the wells, from tables beside the profiles; plates whose names repeat."""

import logging

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.normalize import normalize
from cpssl_lite.profiles.platemaps import read_platemap
from cpssl_lite.profiles.table import assign_roles, read_profiles
from tests.cases.tables import close, saved, wells

FULL = wells().assign(Metadata_Control=lambda t: np.where(t["Metadata_Perturbation"] == "DMSO",
                                                          "negcon", ""))  # fmt: skip
BARE = FULL.drop(columns=["Metadata_Perturbation", "Metadata_Target", "Metadata_Control"])


def maps_of(table, folder, barcode="Assay_Plate_Barcode", well="well_position", end=".txt"):
    """`barcode_platemap.csv` and its maps, as the Cell Painting Gallery has them."""
    plates = {"0b1": "map-1", "0b2": "map-2"}
    (folder / "platemap").mkdir(parents=True)
    names = pd.DataFrame({barcode: list(plates), "Plate_Map_Name": list(plates.values())})
    names.to_csv(folder / "barcode_platemap.csv", index=False)
    for plate, name in plates.items():
        rows = table[table["Metadata_Plate"] == plate]
        told = {"plate_map_name": name, well: rows["Metadata_Well"].str.lower()}
        told |= {"broad_sample": rows["Metadata_Perturbation"], "target": rows["Metadata_Target"]}
        told |= {"control_type": rows["Metadata_Control"], "solvent": "DMSO"}
        file = folder / "platemap" / f"{name}{end}"
        pd.DataFrame(told).to_csv(file, index=False, sep="," if end == ".csv" else "\t")
    return folder / "barcode_platemap.csv"


def numbers(table):
    return evaluate(normalize(table, "standardize"), label="Metadata_Target")


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    return numbers(read_profiles(saved(FULL, tmp_path_factory.mktemp("full") / "a.csv")))


@pytest.mark.parametrize("end", [".txt", ".csv", ".tsv"])
@pytest.mark.parametrize("given", ["file", "folder", "above"])
def test_barcodes_with_their_maps(tmp_path, right, end, given):
    file = maps_of(FULL, tmp_path / "maps" / "batch1", end=end)
    path = {"file": file, "folder": file.parent, "above": file.parent.parent}[given]
    bare = saved(BARE, tmp_path / "a.csv")
    got = read_profiles(bare, platemaps=[path])
    close(numbers(got), right)
    assert set(got["Metadata_solvent"]) == {"DMSO"}


@pytest.mark.parametrize(
    ("on", "columns"),
    [
        (["Metadata_Plate", "Metadata_Well"], ["Metadata_Perturbation", "Metadata_Target"]),
        (["Metadata_Source", "Metadata_Plate", "Metadata_Well"], ["Metadata_Perturbation"]),
        (["Metadata_Well"], ["Metadata_Perturbation"]),  # the same layout on all plates
    ],
)
def test_one_table_of_wells(tmp_path, cpssl, on, columns):
    table = FULL[[*on, *columns]].drop_duplicates()
    bare = BARE.assign(Metadata_Target=FULL["Metadata_Target"])
    bare = bare.drop(columns=[c for c in columns if c in bare])
    given, out = saved(table, tmp_path / "map.csv"), tmp_path / "n.parquet"
    words = ("normalize", saved(bare, tmp_path / "a.csv"), "-o", out, "--method", "standardize")
    code, _, err = cpssl(*words, "--platemap", given)
    assert code == 0, err
    got, full = (read_profiles(p) for p in (out, saved(FULL, tmp_path / "full.csv")))
    assert got["Metadata_Perturbation"].equals(full["Metadata_Perturbation"])
    assert got["Metadata_Control"].equals(full["Metadata_Control"])


def test_a_map_then_what_is_known_of_its_compounds(tmp_path, right):
    plate = FULL.drop(columns=["Metadata_Target", "Metadata_Control"])
    about = FULL[["Metadata_Perturbation", "Metadata_Target", "Metadata_Control"]].drop_duplicates()
    about = about.rename(columns={"Metadata_Perturbation": "broad_sample"})
    paths = [saved(plate.filter(like="Metadata"), tmp_path / "plate.csv"),
             saved(about, tmp_path / "compounds.tsv")]  # fmt: skip
    got = read_profiles(saved(BARE, tmp_path / "a.csv"), platemaps=paths)
    close(numbers(got), right)


def test_what_both_say_stays_as_it_is_in_the_profiles(tmp_path, caplog):
    table = FULL.assign(Metadata_Target="other")[["Metadata_Plate", "Metadata_Well",
                                                  "Metadata_Target"]]  # fmt: skip
    with caplog.at_level(logging.WARNING):
        path = saved(table.iloc[1:], tmp_path / "map.csv")
        got = read_profiles(saved(FULL, tmp_path / "a.csv"), platemaps=[path])
    assert f"{path}: Metadata_Target of 48 wells is another in it and stays" in caplog.text
    assert f"{path}: lacks 1 of 64 wells (first: 0b1/A01)" in caplog.text
    assert set(got["Metadata_Target"]) == {"", "other", "t0", "t1", "t2"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: pd.concat([t, t.iloc[[3]]]), r"0b1/A04 is there more than once"),
        (
            lambda t: t.assign(Metadata_Plate="P" + t["Metadata_Plate"]),
            r"knows none of 64 wells by Metadata_Plate",
        ),
        (
            lambda t: t.drop(columns=["Metadata_Plate", "Metadata_Well"]),
            "no column that says which",
        ),
        (lambda t: t.iloc[:0], "has no rows"),
    ],
)
def test_a_map_that_cannot_be_joined(tmp_path, change, message):
    table = FULL[["Metadata_Plate", "Metadata_Well", "Metadata_Target"]]
    path = saved(change(table), tmp_path / "map.csv")
    with pytest.raises(InputError, match=message) as caught:
        read_profiles(saved(BARE, tmp_path / "a.csv"), platemaps=[path])
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("what", ["map", "folder", "plate", "well"])
def test_a_folder_of_maps_that_lacks_something(tmp_path, what):
    file = maps_of(FULL, tmp_path / "maps", **({"plate": {"barcode": "x"}, "well": {"well": "y"}}
                                               .get(what, {})))  # fmt: skip
    path = file.parent
    if what == "map":
        (path / "platemap/map-2.txt").unlink()
    if what == "folder":
        file.unlink()
    message = {
        "map": r"map-2\.txt: no such plate map \(that of plate 0b2",
        "folder": r"no barcode_platemap\.csv in this folder",
        "plate": r"barcode_platemap\.csv: says no plate",
        "well": r"map-1\.txt: says no well",
    }[what]
    with pytest.raises(InputError, match=message):
        read_profiles(saved(BARE, tmp_path / "a.csv"), platemaps=[path])


def repeating(column, well="A01"):
    """Two experiments whose plates are both called 1."""
    table = FULL.drop(columns=["Metadata_Batch", "Metadata_Source"]).assign(Metadata_Plate="1")
    experiment = FULL["Metadata_Batch"]
    if well != "A01":
        table["Metadata_Well"] = experiment + "_1_" + table["Metadata_Well"]
    return table.assign(**{column: experiment})


@pytest.mark.parametrize("column", ["experiment_name", "Metadata_experiment", "batch"])
def test_plates_of_experiments_are_normalised_apart(tmp_path, right, column):
    table = repeating(column)
    shifted = table.assign(emb_0=table["emb_0"] + 1000 * (table[column] == "b2"))
    got = read_profiles(saved(shifted, tmp_path / "a.csv"))
    close(numbers(got), {**right, "n_sources": 0})


@pytest.mark.parametrize("column", ["screen", "Metadata_Run", "Metadata_Replicate"])
@pytest.mark.parametrize("well", ["A01", "b1_1_A01"])
def test_plates_that_share_a_name_are_refused_and_told_apart(tmp_path, right, column, well):
    path = saved(repeating(column, well), tmp_path / "a.csv")
    with pytest.raises(InputError, match=rf"a\.csv: well 1/.*more than once.*--batch {column}"):
        read_profiles(path)
    close(numbers(read_profiles(path, batch=column)), {**right, "n_sources": 0})


def test_a_plate_of_thousands_of_wells_is_none(tmp_path):
    n = 3457
    table = pd.DataFrame({"Metadata_Plate": "1", "Metadata_Perturbation": "c",
                          "emb_0": np.arange(float(n))})  # fmt: skip
    with pytest.raises(InputError, match=r"plate 1 has 3,457 wells, .*--batch COLUMN"):
        normalize(assign_roles(table), "mad_robustize")


def test_barcodes_of_a_spreadsheet_and_controls_that_only_the_solvent_names(tmp_path):
    (tmp_path / "platemap").mkdir()
    listed = tmp_path / "barcode_platemap.csv"
    listed.write_text('Plate_Map_Name,Assay_Plate_Barcode\nm,"24,277"\nnot-here,24278\n')
    rows = ("well_position\tbroad_sample\tsolvent", "a01\tB1\tDMSO", "a02\t\tDMSO", "a03\t\t")
    (tmp_path / "platemap" / "m.txt").write_text("\n".join(rows))
    known = read_platemap(listed, ["24277"]).set_index("Metadata_Well")
    assert known["Metadata_Perturbation"].to_dict() == {"A01": "B1", "A02": "DMSO", "A03": ""}
    assert known["Metadata_Control"].to_dict() == {"A01": "", "A02": "negcon", "A03": ""}
    with pytest.raises(InputError, match=r"not-here\.txt: no such plate map .*24278"):
        read_platemap(listed)
