"""Numbers that no step takes, names that are no patterns, methods by feature type, full memory."""

import os

import pandas as pd
import pytest
import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.tables import read_table
from cpssl_lite.bioactivity.labels import read_labels
from cpssl_lite.book import features
from cpssl_lite.book.features import _profiles_of
from cpssl_lite.book.kinds import FeatureType, type_of
from cpssl_lite.book.methods import ask_first, methods_of
from cpssl_lite.book.percent import Parameter, check_parameters
from cpssl_lite.images.metadata import canonical_metadata
from cpssl_lite.models.recipes import load_recipe
from cpssl_lite.profiles.find import find_tables
from cpssl_lite.profiles.table import read_profiles
from tests.cases.tables import load_data, saved, wells
from tests.profiles.toy import Moments


@pytest.mark.parametrize("seed", ["-1", "4294967296", "1e3", "x"])
@pytest.mark.parametrize(
    "words",
    [("data", "simulate", "tiny"), ("train", "dino", "t.csv"), ("extract", "t.csv"),
     ("evaluate", "t.csv")],
)  # fmt: skip
def test_seeds_that_are_none(tmp_path, cpssl, words, seed):
    code, _, err = cpssl(*words, "-o", tmp_path / "out.parquet", "--seed", seed)
    assert code == 2 and err.count("\n") == 1 and "--seed" in err and seed in err


@pytest.mark.parametrize("seed", [-1, "-7", 2**32])
def test_seeds_of_chapters(seed):
    allowed = {"seed": Parameter("seed", 0, "of all")}
    with pytest.raises(InputError, match=r"x\.py: parameter seed .*0 or more.*got -?\d"):
        check_parameters({"seed": seed}, allowed, "x.py")


@pytest.mark.parametrize(
    ("key", "value"),
    [("epochs", 10**30), ("epochs", True), ("workers", 100_000), ("workers", 0.5),
     ("batch_size", 10**12)],
)  # fmt: skip
def test_numbers_of_a_recipe(tmp_path, key, value):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({key: value}))
    with pytest.raises(InputError, match=rf"recipe\.yaml: {key} is {value}, expected "):
        load_recipe("dino", path)


BOMB = "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))])
CARDS = {"aliases": BOMB, "depth": "[" * 9_000, "bytes": "a: \xff", "no mapping": "- a"}


@pytest.mark.parametrize("what", CARDS)
def test_yaml_that_is_none_of_ours(tmp_path, what):
    """Of a recipe, and of the card beside a profile table."""
    (tmp_path / "a.yaml").write_text(CARDS[what], encoding="latin-1")
    with pytest.raises(InputError, match=r"a\.yaml: (the|a) recipe (cannot be read|is a mapping)"):
        load_recipe("dino", tmp_path / "a.yaml")
    path = saved(wells(), tmp_path / "a.csv")
    with pytest.raises(InputError, match=r"a\.yaml: (the|a) card (cannot be read|is a mapping)"):
        type_of([path], read_profiles(path))


@pytest.mark.parametrize("name", ["a[1].csv", "b[x-z].parquet", "what?.csv", "s*r.csv"])
def test_a_name_with_marks_is_that_file(tmp_path, name):
    for other in ("a1.csv", "by.parquet", "whats.csv", "star.csv", name):
        saved(wells(), tmp_path / other)
    assert find_tables({"x": str(tmp_path / name)}) == {"x": [str(tmp_path / name)]}
    (tmp_path / name).unlink()
    assert len(find_tables({"x": str(tmp_path / name)})["x"]) == 1  # the pattern's


RAW = {"Learned": wells(), "Measured": wells(prefix="Cells_A_"), "Bare": wells()}
TYPES = {"Learned": FeatureType("learned"), "Measured": FeatureType("measured"),
         "Bare": FeatureType("learned")}  # fmt: skip


@pytest.fixture
def raw(tmp_path):
    found = {n: read_profiles(saved(t, tmp_path / f"{n}.csv")) for n, t in RAW.items()}
    found["Bare"] = found["Bare"].assign(Metadata_Control="")
    return found


def test_a_method_for_each_feature_type(raw):
    got = methods_of(raw, TYPES, '{"Bare": "mad_robustize", "Measured": "none"}')
    assert got == {"Learned": "sphere+mad_robustize", "Measured": "none", "Bare": "mad_robustize"}
    # From papermill's YAML, and from Python.
    assert methods_of(raw, TYPES, {"Bare": "mad_robustize", "Measured": "none"}) == got
    assert set(methods_of(raw, TYPES, "none").values()) == {"none"}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("", r"Bare: sphere needs at least 2 negative controls, its table has 0; .*\"Bare\": \"no"),
        ("mad_robustize@negcon", "Bare: mad_robustize@negcon needs at least 2 negative controls"),
        ('{"Nobody": "none"}', "no feature type 'Nobody'; there are Learned, Measured, Bare"),
        ('{"Bare": 3}', "method: Bare must be text, got 3"),
        ({"Bare": 3}, "method of Bare must be text, got 3"),
        ('{"Bare": "none"', "method must be a dictionary as JSON, got '{"),
        ('{"Bare": "wash"}', "unknown step 'wash'"),
    ],
)
def test_methods_that_cannot_be(raw, method, message):
    with pytest.raises(InputError, match=message):
        methods_of(raw, TYPES, method)


@pytest.mark.parametrize(
    ("method", "roles", "message"),
    [
        ("wash", {}, "unknown step 'wash'"),
        ("", {}, "Mine: sphere needs at least 2 negative controls, its table has 1"),
        ('{"Nobody": "none"}', {}, "no feature type 'Nobody'; there are Mine"),
        ("none", {"perturbation": "drug"}, "no column 'drug'; the table has .*Metadata_Plate"),
        ("none", {"control": "Metadata_Perturbation=x"}, "no well has it"),
    ],
)
def test_what_cannot_be_is_said_before_images_are_read(
    tmp_path, monkeypatch, method, roles, message
):
    table = load_data(tmp_path).assign(Metadata_Perturbation=["DMSO", "c"])
    more = pd.concat([table, table.assign(Metadata_Site="2")]).reset_index(drop=True)
    networks = {"Mine": Moments()}
    more = canonical_metadata(more)
    ask_first(more, networks, '{"Mine": "mad_robustize"}')
    with pytest.raises(InputError, match=message):
        ask_first(more, networks, method, **roles)
    for name in ("networks_of", "extracted"):
        monkeypatch.setattr(features, name, lambda *a: networks)
    with pytest.raises(InputError, match=message):
        features.load_features(saved(table, tmp_path / "images.csv"), method=method, **roles)


@pytest.mark.parametrize(
    "column", ["Metadata_JCP2022", "InChIKey", "broad_sample", "Metadata_InChIKey"]
)
@pytest.mark.parametrize("form", ["a.csv", "a.parquet"])
def test_the_column_that_names_compounds_is_found(tmp_path, column, form):
    table = pd.DataFrame({column: ["a", "b"], "assay": [1, -1]})
    got = read_labels(saved(table, tmp_path / form))
    assert got.index.tolist() == ["a", "b"] and got["assay"].tolist() == [1, -1]
    two = table.assign(Metadata_Broad_Sample=table[column], inchi_key=table[column])
    with pytest.raises(InputError, match="no column Metadata_Perturbation that names"):
        read_labels(saved(two, tmp_path / f"two-{form}"))


@pytest.mark.parametrize(
    "error",
    [MemoryError(),
     RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
     RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")],
)  # fmt: skip
def test_full_memory_is_one_line(tmp_path, cpssl, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("cpssl_lite.profiles.normalize.normalize", fail)
    path = saved(wells(), tmp_path / "a.csv")
    code, _, err = cpssl("normalize", path, "-o", tmp_path / "n.parquet")
    assert code == 1 and err.startswith("cpssl: out of memory (") and err.count("\n") == 1


def test_profiles_of_images_in_a_read_only_folder_go_elsewhere(tmp_path, monkeypatch):
    assert _profiles_of(tmp_path / "images.csv") == tmp_path / "profiles"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    places = {_profiles_of(tmp_path / name / "images.csv") for name in ("a", "b")}
    assert len(places) == 2 and all(p.parts[:2] == ("runs", "profiles") for p in places)


@pytest.mark.parametrize("back", [1, 2, 9, 40])
@pytest.mark.parametrize("form", ["a.csv", "a.tsv", "a.txt"])
def test_a_table_that_is_cut_is_told(tmp_path, caplog, back, form):
    """Within the last number it may be whole as well: a line; before its last value: refused."""
    table = wells(features=3)[["Metadata_Plate", "emb_0", "emb_1", "emb_2", "Metadata_Well"]]
    table = table[["Metadata_Well", *table.columns[:4]]]
    text = table.to_csv(index=False, sep="," if form == "a.csv" else "\t")
    path = tmp_path / form
    path.write_text(text[: -1 - back])
    values = text.splitlines()[-1][:-back].count("," if form == "a.csv" else "\t") + 1
    if values < 5:
        with pytest.raises(InputError, match=rf"{form}: cut off: its last row has {values} values"):
            read_table(path)
        return
    read_table(path)
    assert f"{form}: no line break after its last row" in caplog.text
    assert caplog.text.rstrip().endswith(text[-11 - back : -1 - back])


def test_a_whole_table_is_not_said_to_be_cut(tmp_path, caplog):
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "a.csv").write_bytes(f'a,b{end}1,"2{end}3"{end}'.encode())
        assert len(read_table(tmp_path / "a.csv")) == 1
    (tmp_path / "b.csv").write_text("a,b")
    read_table(tmp_path / "b.csv")
    assert not caplog.text


@pytest.mark.parametrize("name", [b"\x80mb_ZZ", b"emb_\xff\xfe", b"\xc3(b_ZZ"])
def test_a_damaged_column_name_in_parquet_is_one_line(tmp_path, name):
    path = tmp_path / "profiles.parquet"
    wells().assign(emb_ZZ=1.0).to_parquet(path)
    path.write_bytes(path.read_bytes().replace(b"emb_ZZ", name))
    with pytest.raises(InputError, match=r"profiles\.parquet: .*not UTF-8"):
        read_profiles([path])
