import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.metadata import IMAGE_METADATA, canonical_metadata
from cpssl_lite.images.table import read_image_table


def ours(n: int = 4, **columns) -> pd.DataFrame:
    table = {
        "Metadata_Source": ["s1"] * n,
        "Metadata_Batch": ["007"] * n,
        "Metadata_Plate": ["0042"] * n,
        "Metadata_Well": [f"A{i + 1:02d}" for i in range(n)],
        "Metadata_Site": ["1"] * n,
        "Metadata_Perturbation": ["DMSO", *[f"C{i}" for i in range(1, n)]],
        "Metadata_Control": [""] * n,
        "FileName_Merged": [f"images/{i}.tif" for i in range(n)],
    }
    return pd.DataFrame(table | columns)


def jump(n: int = 3, kind: str = "FileName", prefix: str = "Orig") -> pd.DataFrame:
    table = pd.DataFrame({
        "Metadata_Source": ["source_4"] * n,
        "Metadata_Plate": ["BR00117010"] * n,
        "Metadata_Well": [f"r01c{i + 1:02d}" for i in range(n)],
        "Metadata_Site": range(1, n + 1),
        "Metadata_JCP2022": ["JCP2022_033924", "JCP2022_000001", "JCP2022_915130"][:n],
    })  # fmt: skip
    for number, name in enumerate([*CHANNELS, "Brightfield", "Illum"]):
        column = f"{kind}_IllumDNA" if name == "Illum" else f"{kind}_{prefix}{name}"
        table[column] = [f"r01c{i + 1:02d}f01p01-ch{number}.tiff" for i in range(n)]
    return table


@pytest.fixture
def save(tmp_path):
    def _save(table: pd.DataFrame, name: str = "table.csv"):
        path = tmp_path / name
        (table.to_parquet if name.endswith("parquet") else table.to_csv)(path, index=False)
        return path

    return _save


def refusal(path) -> str:
    with pytest.raises(InputError) as error:
        read_image_table(path)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "table.parquet"])
def test_our_own_form(save, tmp_path, name):
    table = read_image_table(save(ours(), name))
    assert list(table.columns) == [*IMAGE_METADATA, "FileName_Merged"]
    assert table["Metadata_Plate"].tolist() == ["0042"] * 4  # leading zeros stay
    assert table["Metadata_Control"].tolist() == ["negcon", "", "", ""]
    assert table["FileName_Merged"][1] == str(tmp_path / "images/1.tif")
    assert all(isinstance(v, str) for v in table.to_numpy().ravel())


def test_the_authors_form(parity):
    table = read_image_table(parity / "inference/dataset.csv")
    assert table.shape == (12, 9)
    assert (table["Metadata_Control"] == "negcon").sum() == 6
    assert table["Metadata_Target"].unique().tolist() == ["TGT1", ""]
    assert table["Metadata_Site"].unique().tolist() == ["1", "2"]
    assert table["Metadata_Source"].unique().tolist() == [""]
    assert table["FileName_Merged"][0] == str(
        (parity / "inference/images/Batch1_PS01_A01_s1.tif").resolve()
    )


def test_the_authors_threshold_column_is_kept_as_numbers(save):
    table = ours(2, Otsu_th=[0.25, 0.5]).drop(columns="Metadata_Site")
    table = read_image_table(save(table))
    assert table["Otsu_th"].tolist() == [0.25, 0.5]
    assert table["Metadata_Site"].tolist() == ["1", "1"]


@pytest.mark.parametrize("name", ["load_data.csv", "load_data.csv.gz", "load_data.parquet"])
@pytest.mark.parametrize("prefix", ["Orig", ""])
def test_jump_load_data(save, tmp_path, name, prefix):
    table = read_image_table(save(jump(prefix=prefix), name))
    assert list(table.columns) == [*IMAGE_METADATA, *(f"FileName_{name}" for name in CHANNELS)]
    assert table["Metadata_Well"].tolist() == ["A01", "A02", "A03"]
    assert table["Metadata_Control"].tolist() == ["negcon", "", "negcon"]
    assert table["FileName_DNA"][2] == str(tmp_path / "r01c03f01p01-ch4.tiff")


def test_path_name_goes_first_where_it_exists(save, tmp_path):
    table = jump(2)
    (tmp_path / "plate_1").mkdir()
    for name in CHANNELS:
        table[f"PathName_Orig{name}"] = ["plate_1", "/no/such/place"]
    for file in table.filter(like="FileName").iloc[1]:
        (tmp_path / file).touch()
    table = read_image_table(save(table))
    assert table["FileName_ER"].tolist() == [
        str(tmp_path / "plate_1/r01c01f01p01-ch3.tiff"),
        str(tmp_path / "r01c02f01p01-ch3.tiff"),
    ]


def test_url_columns_with_local_addresses(save, tmp_path):
    table = jump(2, kind="URL")
    table["URL_OrigDNA"] = ["file:///data/a%20b/1.tiff", "sub/2.tiff"]
    table = read_image_table(save(table))
    assert table["FileName_DNA"].tolist() == ["/data/a b/1.tiff", str(tmp_path / "sub/2.tiff")]


@pytest.mark.parametrize("address", ["https://x.org/1.tiff", "s3://bucket/1.tiff"])
def test_remote_addresses_say_to_fetch_first(save, address):
    table = jump(1, kind="URL")
    table["URL_OrigDNA"] = [address]
    message = refusal(save(table))
    assert address in message
    assert "fetch" in message


@pytest.mark.parametrize("suffix", ["table.csv", "table.parquet"])
def test_missing_values_become_empty_text(save, suffix):
    table = ours(4, Metadata_Target=["T1", None, np.nan, "nan"], Metadata_Dose=[1.0, None, 3, 4])
    table = read_image_table(save(table, suffix))
    assert table["Metadata_Target"].tolist() == ["T1", "", "", ""]
    if suffix.endswith("parquet"):
        assert table["Metadata_Dose"].tolist() == ["1", "", "3", "4"]


def test_types_become_text():
    table = pd.DataFrame({
        "Metadata_Plate": pd.Series([1, 2], dtype="int64"),
        "Metadata_Site": pd.Series([1.0, 2.0]),
        "Metadata_Dose": pd.Series([0.5, 1.0]),
        "Metadata_Batch": pd.Categorical(["x", None]),
        "emb_0000": [0.1, 0.2],
    })  # fmt: skip
    table = canonical_metadata(table)
    assert table["Metadata_Plate"].tolist() == ["1", "2"]
    assert table["Metadata_Site"].tolist() == ["1", "2"]
    assert table["Metadata_Dose"].tolist() == ["0.5", "1.0"]
    assert table["Metadata_Batch"].tolist() == ["x", ""]
    assert table["emb_0000"].dtype == float


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("A01", "A01"), ("a1", "A01"), ("P24", "P24"), ("B003", "B03"), ("r16c24", "P24"),
        ("R01C01", "A01"), ("r27c48", "AA48"), ("r32c01", "AF01"), ("af7", "AF07"),
        ("r00c01", "r00c01"), ("A00", "A00"), ("well 7", "well 7"), (" C5 ", "C05"),
    ],
)  # fmt: skip
def test_well_positions(given, canonical):
    assert canonical_metadata(pd.DataFrame({"well": [given]}))["Metadata_Well"][0] == canonical


def test_controls_from_a_control_column():
    kinds = ["negcon", "poscon_cp", "poscon_diverse", "trt", None, "NEGCON"]
    for column in ("control_type", "Metadata_control_type", "Metadata_pert_type"):
        table = canonical_metadata(pd.DataFrame({column: kinds}))
        assert table["Metadata_Control"].tolist() == [
            "negcon",
            "poscon",
            "poscon",
            "",
            "",
            "negcon",
        ]
        assert column not in table


def test_controls_from_known_names_do_not_override_the_column():
    table = pd.DataFrame({
        "Metadata_Perturbation": ["DMSO", "DMSO", "JCP2022_800001", "JCP2022_915131", "X"],
        "Metadata_Control": ["poscon", "", "", "", ""],
    })  # fmt: skip
    control = canonical_metadata(table)["Metadata_Control"]
    assert control.tolist() == ["poscon", "negcon", "negcon", "negcon", ""]


def test_real_profile_table(real):
    path = next((real / "profiles/cpjump1").glob("BR00117010*"))
    raw = pd.read_csv(path)
    table = canonical_metadata(raw)
    assert (table["Metadata_Control"] == "negcon").sum() == 64
    assert (table["Metadata_Control"] == "poscon").sum() == 60
    assert (
        (table.loc[table["Metadata_Control"] == "negcon", "Metadata_Perturbation"]).eq("DMSO").all()
    )
    assert "Metadata_pert_iname" in table
    assert len(table.columns) >= len(raw.columns) - 1
    assert not table.filter(like="Metadata_").isin(["nan"]).any(axis=None)


def test_the_input_stays_as_it_is_and_twice_is_once():
    table = pd.DataFrame({"plate": [1], "well": ["a1"], "target": [np.nan], "emb0": [1.0]})
    before = table.copy()
    once = canonical_metadata(table)
    pd.testing.assert_frame_equal(table, before)
    pd.testing.assert_frame_equal(canonical_metadata(once), once)


def test_a_missing_column_says_what_was_found(save):
    message = refusal(save(ours().drop(columns="Metadata_Plate")))
    assert "Metadata_Plate (or plate) is missing; found: Metadata_Source" in message


def test_no_image_columns_lists_the_accepted_forms(save):
    message = refusal(save(ours().drop(columns="FileName_Merged")))
    for form in ("FileName_Merged", "PathName_Orig<channel>", "URL_Orig<channel>"):
        assert form in message


def test_four_channels(save):
    message = refusal(save(jump().drop(columns="FileName_OrigRNA")))
    assert "channels without one: RNA" in message


def test_a_duplicate_field_names_both_rows(save):
    table = ours(Metadata_Well=["A01", "B01", "C01", "b1"])
    message = refusal(save(table))
    assert "rows 2 and 4 are the same field" in message
    assert "0042, B01, 1" in message


def test_two_sources_may_use_the_same_plate_name(save):
    table = ours(2, Metadata_Source=["s1", "s2"], Metadata_Well="A01")
    assert read_image_table(save(table))["Metadata_Source"].tolist() == ["s1", "s2"]


def test_thresholds_are_numbers(save):
    table = read_image_table(save(ours(2, Otsu_th=["0.25", ""])))
    np.testing.assert_array_equal(table["Otsu_th"], [0.25, np.nan])
    assert "row 2: Otsu_th is 'high'" in refusal(save(ours(2, Otsu_th=["0.25", "high"])))


def test_the_same_file_twice(save):
    table = ours(FileName_Merged=["a.tif", "b.tif", "c.tif", "./a.tif"])
    assert "rows 1 and 4 are the same file" in refusal(save(table))


@pytest.mark.parametrize("column", ["Metadata_Plate", "Metadata_Well", "FileName_Merged"])
def test_an_empty_value_names_the_row(save, column):
    table = ours()
    table.loc[2, column] = ""
    assert f"row 3: {column} is empty" in refusal(save(table))


def test_our_names_go_before_the_authors():
    table = pd.DataFrame({"plate": ["theirs", "filled"], "Metadata_Plate": ["ours", ""]})
    assert canonical_metadata(table)["Metadata_Plate"].tolist() == ["ours", "filled"]


@pytest.mark.parametrize("row", ["P1,A01,a.tif,extra", "P1,A01,a.tif,extra\nP1,A02,b.tif"])
def test_rows_longer_than_the_header(tmp_path, row):
    path = tmp_path / "a.csv"
    path.write_text(f"plate,well,FileName_Merged\n{row}\n")
    assert "rows have more values than the header" in refusal(path)


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfplate,well,FileName_Merged\r\n01,a1,a.tif\r\n")
    assert read_image_table(path).loc[0, ["Metadata_Plate", "Metadata_Well"]].tolist() == [
        "01",
        "A01",
    ]


def test_an_empty_table(save):
    assert "no rows" in refusal(save(ours().iloc[:0]))


def test_a_missing_perturbation_column_is_allowed(save):
    table = read_image_table(save(ours().drop(columns="Metadata_Perturbation")))
    assert (table["Metadata_Perturbation"] == "").all()


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "a.xlsx"])
def test_files_that_are_no_tables(tmp_path, name):
    path = tmp_path / name
    assert "no such" in refusal(path)
    for content in (b"", b"\xff\xfe\0\1\2" * 100):
        path.write_bytes(content)
        refusal(path)


def test_controls_are_known_in_any_case_and_by_a_bare_column():
    table = pd.DataFrame({"plate": "p", "well": ["A1", "A2"], "perturbation": ["dmso", "c1"]})
    known = canonical_metadata(table)
    assert known["Metadata_Perturbation"].tolist() == ["dmso", "c1"]
    assert known["Metadata_Control"].tolist() == ["negcon", ""]


def test_numbers_too_large_for_an_integer_stay_text():
    table = pd.DataFrame({"plate": [1e30, 2.0], "well": ["A01", "A02"]})
    assert canonical_metadata(table)["Metadata_Plate"].tolist() == ["1e+30", "2.0"]
