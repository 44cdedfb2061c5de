"""Every manifest is whole, and the JUMP subsets are what the consortium's tables give."""

import hashlib
import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.data.manifests import FOLDER, list_manifests, load_manifest

SCHEMA = jsonschema.Draft202012Validator(json.loads((FOLDER / "schema.json").read_text()))
CLONE = FOLDER.parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
JUMP = ["jump_multisource", "jump_orf", "jump_target2"]


def faults(manifest):
    plain = {key: value for key, value in manifest.items() if key != "name"}
    return [f"{error.json_path}: {error.message}" for error in SCHEMA.iter_errors(plain)]


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_holds(name):
    assert faults(load_manifest(name)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"licence": None}, "licence"),
        ({"kind": "movie"}, "movie"),
        ({"megabytes": -1}, "megabytes"),
        ({"base_url": "http://plain"}, "base_url"),
        ({"colour": "blue"}, "colour"),
        ({"unverified": []}, "unverified"),
        ({"index": None}, "under any of the given schemas"),
        ({"controls": None}, "controls"),
        ({"labels": ["Metadata_Target"]}, "labels"),
    ],
)
def test_the_schema_finds_what_is_wrong(change, words):
    manifest = load_manifest("cpjump1_examples") | change
    found = faults({key: value for key, value in manifest.items() if value is not None})
    assert found and words in " ".join(found)


def test_every_data_set_of_the_issue_is_there():
    kinds = {item["name"]: item["kind"] for item in list_manifests()}
    assert {*JUMP, "lite", "cpg0012_bioactives", "authors_release", "cpjump1_examples"} <= {*kinds}
    assert sum(kind == "checkpoint" for kind in kinds.values()) == 9


@pytest.mark.parametrize("name", NAMES)
def test_parts_and_indexes_are_there(name):
    manifest = load_manifest(name)
    if "part_of" in manifest:
        load_manifest(manifest["part_of"])
    if "index" in manifest:
        assert (FOLDER / manifest["index"]).is_file()


@pytest.mark.parametrize("name", JUMP)
def test_sizes_in_a_jump_manifest_follow_from_its_wells(name):
    manifest, wells = load_manifest(name), pd.read_parquet(FOLDER / f"{name}.parquet")
    gallery, source = manifest["gallery"], wells["Metadata_Source"]
    fields = source.map(gallery["sites"])
    assert not wells.duplicated(["Metadata_Source", "Metadata_Plate", "Metadata_Well"]).any()
    assert manifest["n_plates"] == wells["Metadata_Plate"].nunique()
    assert manifest["n_fields"] == fields.sum()
    size = (fields * source.map(gallery["megabytes"]) * 5).sum()
    assert manifest["megabytes"] == pytest.approx(size, rel=0.001)


def test_all_of_jump_is_every_plate(real):
    manifest, plates = load_manifest("jump_all"), pd.read_parquet(FOLDER / "jump_all.parquet")
    table = pd.read_csv(real / "jump_metadata" / "plate.csv.gz", dtype=str)[list(plates)]
    assert len(plates) == manifest["n_plates"] == 2525
    assert set(plates.itertuples(index=False)) == set(table.itertuples(index=False))
    source = plates["Metadata_Source"]
    wells = source.map(lambda name: 1536 if name in ("source_1", "source_9") else 384)
    assert manifest["n_fields"] == (wells * source.map(manifest["gallery"]["sites"])).sum()
    scopes = pd.read_csv(real / "jump_metadata" / "microscope_config.csv")
    sites = scopes.set_index("Metadata_Source")["Metadata_Sites_Per_Well"].to_dict()
    assert manifest["gallery"]["sites"] == sites


def test_no_target2_plate_is_trained_on():
    training, target2 = (pd.read_parquet(FOLDER / f"{n}.parquet") for n in (JUMP[0], JUMP[2]))
    assert not set(training["Metadata_Plate"]) & set(target2["Metadata_Plate"])


def test_the_committed_tables_are_what_the_script_derives(real):
    spec = importlib.util.spec_from_file_location("derive_jump", FOLDER / "derive_jump.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sets, counts = module.derive(module.read(real))
    assert sorted(sets) == JUMP
    for name, table in sets.items():
        pd.testing.assert_frame_equal(table, pd.read_parquet(FOLDER / f"{name}.parquet"))
    assert counts.to_csv(index=False) == (FOLDER / "jump_counts.csv").read_text()
    assert (counts.loc[counts["difference"] != 0, "why"] != "").all()
    text = (real.parent / "paper" / "paper.txt").read_text()
    for number in counts["paper"].dropna().astype(int):
        assert any(form in text for form in (str(number), f"{number:,}")), number


def test_digests_in_manifests_are_those_of_the_files(real):
    """Where the file was at hand when the manifest was written."""
    at = {
        "hti_cnn": lambda path: real / "bioactivity" / "hti_cnn" / path,
        "cpjump1_profiles": lambda path: real / "profiles" / "cpjump1" / Path(path).name,
    }
    for name, place in at.items():
        for file in load_manifest(name)["files"]:
            body = place(file["path"]).read_bytes()
            found = len(body), hashlib.sha256(body).hexdigest()
            assert found == (file["bytes"], file["sha256"]), file["path"]
    known = load_manifest("cpg0012_bioactives")["label_matrix"]
    (matrix,) = (f for f in load_manifest("hti_cnn")["files"] if f["path"] == known["file"])
    assert matrix["sha256"] == known["sha256"]


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(InputError, match="did you mean jump_target2"):
        load_manifest("jump_target")


def test_an_installed_package_brings_its_manifests():
    """Without the repository they are found under the prefix that pip installs data files to."""
    project = tomllib.loads((CLONE / "pyproject.toml").read_text())
    (place, patterns), *others = project["tool"]["setuptools"]["data-files"].items()
    assert not others and patterns == ["data_manifests/*"]
    assert (Path(sys.prefix) / place).parts[-3:] == ("share", "cpssl_lite", "data_manifests")
    code = (
        "import pathlib; is_dir = pathlib.Path.is_dir;"
        "pathlib.Path.is_dir = lambda p: p.name != 'data_manifests' and is_dir(p);"
        "from cpssl_lite.data.manifests import FOLDER; print(FOLDER)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(Path(sys.prefix) / place)
