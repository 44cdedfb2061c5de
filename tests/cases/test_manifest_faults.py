"""Manifests of the wrong types: one line each, and no other data set is the worse for it."""

import os

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from cpssl_lite.base.errors import InputError
from cpssl_lite.cli.main import cli
from cpssl_lite.data import manifests
from cpssl_lite.data.fetch import index_of
from cpssl_lite.data.gallery import label_profiles, wells_of
from cpssl_lite.data.manifests import list_manifests, load_manifest

GOOD = {
    "title": "a set", "kind": "images", "description": "some files", "source": "somewhere",
    "licence": "CC0", "allows": "any use", "citation": "nobody", "layout": "flat",
    "labels": {}, "controls": {"a": "b"}, "megabytes": 1,
    "files": [{"path": "a.tif", "url": "https://example.org/a.tif"}],
}  # fmt: skip
BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(manifests, "FOLDER", tmp_path)
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(GOOD))
    return tmp_path


def one(**change):
    return {**GOOD, "files": [{**GOOD["files"][0], **change}]}


TYPES = {
    "files as text": ({**GOOD, "files": "a.tif"}, "files is 'a.tif', expected type 'array'"),
    "files as a mapping": ({**GOOD, "files": {"a": 1}}, "files is {'a': 1}"),
    "files of text": ({**GOOD, "files": ["a.tif"]}, r"files\[0\] is 'a.tif', expected type"),
    "no files": ({**GOOD, "files": []}, "files is"),
    "a size in words": (one(bytes="big"), r"files\[0\].bytes is 'big', expected type 'integer'"),
    "a size below nothing": (one(bytes=-1), r"files\[0\].bytes is -1, expected minimum 1"),
    "a size without end": (one(bytes="BIG"), "bytes is|too long"),
    "a size of yes": (one(bytes=True), r"files\[0\].bytes is True"),
    "an address as a list": (one(url=["https://a.b"]), r"files\[0\].url is"),
    "an address without scheme": (one(url="example.org/a"), r"files\[0\].url is 'example.org/a'"),
    "an address of a file": (one(url="file:///etc/passwd"), r"files\[0\].url is"),
    "a digest that is none": (one(sha256="abc"), r"files\[0\].sha256 is 'abc'"),
    "a NUL in a path": (one(path="a\0b"), r"files\[0\].path is 'a\\x00b'"),
    "a path of numbers": (one(path=3), r"files\[0\].path is 3"),
    "an unknown key": (one(colour="red"), "colour"),
    "a licence as a list": ({**GOOD, "licence": ["CC0"]}, "licence is"),
    "a licence of nothing": ({**GOOD, "licence": None}, "licence is None"),
    "an index as a number": ({**GOOD, "index": 3}, "index is 3"),
    "an index elsewhere": ({**GOOD, "index": "../secret.csv"}, "index is '../secret.csv'"),
    "a date as a title": ({**GOOD, "title": "2020-01-01"}, None),
    "a template with more in it": (
        {**GOOD, "gallery": {"load_data": ["{plate.__class__}"]}}, "load_data"),
    "nothing to fetch": ({k: v for k, v in GOOD.items() if k != "files"}, "expected one of index"),
    "a part of nothing": ({**GOOD, "part_of": "good"}, "'member' is a dependency of 'part_of'"),
    "a number as a key": ({**GOOD, 3: "x"}, "3"),
}  # fmt: skip


@pytest.mark.parametrize("what", TYPES)
def test_the_schema_holds_when_a_manifest_is_read(folder, what):
    content, words = TYPES[what]
    text = yaml.safe_dump(content).replace("BIG", "0x" + "f" * 9000)
    if words is None:  # YAML reads a date where none was meant
        text, words = text.replace("'2020-01-01'", "2020-01-01"), "title is datetime.date"
    (folder / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        load_manifest("bad")
    assert str(folder / "bad.yaml") in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


BYTES = {
    "an alias bomb": BOMB.encode(),
    "a picture": b"\x89PNG\r\n\x1a\n\0\0",
    "UTF-16": "title: a".encode("utf-16"),
    "deep": b"[" * 50_000,
    "a list": b"- 1\n",
    "nothing": b"",
    "large": b"# " + b"x" * 2_000_000,
    "a program": b"title: !!python/object/apply:os.system [ls]",
}


@pytest.mark.parametrize("what", BYTES)
def test_a_bad_file_does_not_take_the_list_with_it(folder, caplog, what):
    (folder / "bad.yaml").write_bytes(BYTES[what])
    with pytest.raises(InputError, match=r"bad\.yaml") as caught:
        load_manifest("bad")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert [item["name"] for item in list_manifests()] == ["good"]
    assert len(caplog.records) == 1 and "bad.yaml" in caplog.text
    done = CliRunner().invoke(cli, ["data", "list"])
    assert done.exit_code == 0 and "a set" in done.output


def test_folders_and_broken_links_do_not_either(folder):
    (folder / "folder.yaml").mkdir()
    os.symlink(folder / "nowhere", folder / "link.yaml")
    assert [item["name"] for item in list_manifests()] == ["good"]
    for name in ("folder", "link"):
        with pytest.raises(InputError, match=rf"{name}\.yaml"):
            load_manifest(name)


INDEXES = {
    "no path": ("url\nhttps://a.b\n", "no column path"),
    "an empty path": ("path,url\n,https://a.b\n", "row without a path"),
    "no rows": ("path,url\n", "no row"),
    "a size in words": ("path,bytes\na,1\nb,big\n", "row 2 of its index has bytes 'big'"),
    "half a byte": ("path,bytes\na,1.5\n", "row 1 of its index has bytes '1.5'"),
    "a digest that is none": ("path,sha256\na,xyz\n", "row 1 of its index has sha256 'xyz'"),
    "an address with a gap": ("path,url\na,https://a b\n", "row 1 of its index has url"),
    "no table": ("\xff\xfe", "not a readable table"),
}


@pytest.mark.parametrize("what", INDEXES)
def test_indexes_are_checked_as_well(folder, what):
    text, words = INDEXES[what]
    (folder / "i.csv").write_bytes(text.encode("latin-1"))
    manifest = {"name": "set", "index": "i.csv", "base_url": "https://example.org"}
    with pytest.raises(InputError, match=words) as caught:
        index_of(manifest)
    assert "\n" not in str(caught.value)


def test_profiles_of_plates_that_differ_in_case_keep_apart(tmp_path):
    rows, wells = [], []
    for batch, plate in (("b1", "P1"), ("b1", "p1"), ("b2", "P1"), ("b1", "Q")):
        path = f"{batch}-{plate}-{len(rows)}.parquet"
        pd.DataFrame({"Metadata_Well": ["A01"], "Cells_A": [len(rows)]}).to_parquet(tmp_path / path)
        key = {"Metadata_Source": "s", "Metadata_Batch": batch, "Metadata_Plate": plate}
        rows.append({**key, "path": path, "url": f"https://example.org/{path}"})
        wells.append({**key, "Metadata_Well": "A01"})
    out = label_profiles(pd.DataFrame(rows), pd.DataFrame(wells), tmp_path)
    files = sorted(out.glob("*.parquet"))
    assert len({file.name.casefold() for file in files}) == 4
    assert sorted(pd.read_parquet(file)["Cells_A"][0] for file in files) == [0, 1, 2, 3]
    assert (out / "s-Q.parquet").is_file()


@pytest.mark.parametrize("column", ["Metadata_Source", "Metadata_Batch", "Metadata_Plate"])
def test_an_index_of_wells_needs_names(folder, column):
    row = {"Metadata_Source": "s", "Metadata_Batch": "b", "Metadata_Plate": "p"}
    manifest = {"name": "set", "index": "w.parquet", "gallery": {}}
    pd.DataFrame([row]).to_parquet(folder / "w.parquet")
    assert len(wells_of(manifest)) == 1
    for wrong in ({column: [3]}, {column: [None]}):
        pd.DataFrame([row]).assign(**wrong).to_parquet(folder / "w.parquet")
        with pytest.raises(InputError, match=column):
            wells_of(manifest)
    (folder / "w.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="not a readable table"):
        wells_of(manifest)
