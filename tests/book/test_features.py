"""Features by type: from images, tables and the authors' layout; every bad parameter, one line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.features import (
    CEILING,
    load_features,
    normalized,
    random_features,
    true_phenotype,
)
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.metadata import canonical_metadata
from cpssl_lite.profiles.find import find_tables, release_tables
from cpssl_lite.profiles.table import assign_roles, feature_columns, write_profiles


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate("tiny", tmp_path_factory.mktemp("screen") / "tiny", workers=1)


@pytest.fixture
def well_features() -> pd.DataFrame:
    """A table as the authors write it: 8 wells, DMSO in two of them."""
    names = ["DMSO", "a", "b", "c"] * 2
    head = {"batch": ["B1"] * 4 + ["B2"] * 4, "plate": ["P1"] * 4 + ["P2"] * 4}
    head |= {"well": [f"A{n:02}" for n in range(1, 9)], "perturbation_id": names}
    values = np.random.default_rng(0).normal(size=(8, 3))
    return pd.DataFrame(head | {f"emb{i}": values[:, i] for i in range(3)})


def put(table: pd.DataFrame, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path)
    return str(path)


def test_from_images_to_normalised_tables(screen: Path) -> None:
    features = load_features(screen, method="mad_robustize", seed=1)
    assert list(features.raw) == ["DINO", "MAE", "SimCLR", "Random weights"]
    assert features.simulated and features.data_kind == "simulated"
    assert features.image_table == screen and len(features.images) == 24
    assert features.shape("DINO") == features.shape("Random weights") == "ViT lite"
    assert features.made_from["data"] == screen.parent / "dataset.yaml"
    assert set(features.made_from["checkpoint"]) == {"DINO", "MAE", "SimCLR"}
    kept = {path.name for path in (screen.parent / "profiles").glob("*.parquet")}
    assert kept == {"DINO.parquet", "MAE.parquet", "SimCLR.parquet", "Random_weights.parquet"}
    tables = features.normalized()
    values = tables["DINO"][feature_columns(tables["DINO"])]
    assert values.median().abs().max() < 1e-6, "every feature centred on its plate"


def test_tables_keep_their_roles_and_their_own_methods(well_features, tmp_path: Path) -> None:
    for number in (1, 2):
        part = well_features[well_features["batch"] == f"B{number}"]
        put(part, tmp_path / "screen7" / f"p{number}.csv")
    features = load_features(
        profiles={"CellProfiler": str(tmp_path / "screen7" / "p?.csv")}, batch="plate"
    )
    wells = features.raw["CellProfiler"]
    assert wells["Metadata_Batch"].tolist() == ["P1"] * 4 + ["P2"] * 4
    assert (wells["Metadata_Control"] == "negcon").sum() == 2
    assert features.methods == {"CellProfiler": "sphere+mad_robustize"}, "whatever its name says"
    assert (features.simulated, features.data_kind) == (False, "screen7")
    assert features.image_table is None and features.images is None


def test_simulated_tables_among_others_are_not_called_real(well_features, tmp_path: Path) -> None:
    drawn = put(well_features.assign(Metadata_Origin="simulated"), tmp_path / "mix" / "drawn.csv")
    other = put(well_features, tmp_path / "mix" / "other.csv")
    assert load_features(profiles={"A": other}).data_kind == "mix"
    features = load_features(profiles={"A": other, "B": drawn}, data_name="mine")
    assert features.simulated and features.data_kind == "simulated"


@pytest.mark.parametrize(
    "inside", ["embeddings/ORF", "SSL_data/embeddings/ORF", "ORF", "SSL_data/ORF", "", "SSL_data"]
)
def test_the_release_is_found_wherever_it_was_unpacked(well_features, tmp_path, inside) -> None:
    for method in ("CellProfiler", "DINO_ViT-S"):
        put(well_features, tmp_path / inside / method / "well_features.csv")
    features = load_features(release=tmp_path, release_set="ORF")
    assert list(features.raw) == ["DINO_ViT-S", "CellProfiler"], "the paper's network first"
    assert set(features.methods.values()) == {"none"}, "its authors normalised it"
    assert features.data_kind == "JUMP-CP ORF"
    assert load_features(release=tmp_path, release_set="ORF", data_name="mine").data_kind == "mine"


def test_the_named_set_goes_before_what_lies_beside_it(well_features, tmp_path: Path) -> None:
    for place in ("multisource", "ORF"):
        put(well_features, tmp_path / "embeddings" / place / place / "well_features.csv")
    assert list(release_tables(tmp_path, "ORF")) == ["ORF"]


def test_random_features_keep_the_wells(well_features) -> None:
    wells = canonical_metadata(well_features)
    random = random_features(wells, np.random.default_rng(1))
    columns = feature_columns(wells)
    assert random.drop(columns=columns).equals(wells.drop(columns=columns))
    assert not np.isclose(random[columns], wells[columns]).any()


def test_bad_parameters_are_one_clear_line(well_features, screen, tmp_path: Path) -> None:
    file = put(well_features, tmp_path / "DINO" / "well_features.csv")
    for message, given in {
        "give one of them": {"profiles": {"a": file}, "release": tmp_path},
        "profiles a: no such file: nowhere": {"profiles": {"a": ["nowhere*.csv"]}},
        "profiles a: no such file: none given": {"profiles": {"a": []}},
        "neither an image table nor a simulated screen \\(lite, ": {"data": "lit"},
        "release .*nowhere: no such folder": {"release": tmp_path / "nowhere"},
        "not one of multisource, singlesource, ORF": {"release": tmp_path, "release_set": "orf"},
        "no embeddings/ORF/METHOD/well_features.csv": {
            "release": screen.parent,
            "release_set": "ORF",
        },
        "'Random weights' is taken": {"data": screen, "checkpoints": {"Random weights": "x"}},
        "no column 'gene'": {"profiles": {"a": file}, "label": "gene"},
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            load_features(**given)
        assert "\n" not in str(caught.value)


def test_one_path_several_and_patterns(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "[x].csv"):
        (tmp_path / name).touch()
    a, b, x = (str(tmp_path / name) for name in ("a.csv", "b.csv", "[x].csv"))
    assert find_tables({"m": a, "n": [b, a], "o": str(tmp_path / "?.csv"), "p": x}) == {
        "m": [a], "n": [b, a], "o": [a, b], "p": [x]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "column", "method", "kept"),
    [
        ("CellProfiler", "Cells_F", None, 3),
        ("By hand", "Cells_F", None, 3),  # its columns say it
        ("Mine", "emb_000", None, 4),
        ("CP 4.2", "Cells_F", None, 3),
        ("CellProfiler", "emb_000", None, 4),  # a name says nothing
        ("Transfer", "emb_000", None, 4),
        ("Mine", "emb_000", "transfer", 3),  # its network says it, not the name
        ("Transfer learned here", "emb_000", "DINO", 4),
    ],
)
def test_features_that_run_away_are_left_out_unless_they_were_learned(
    tmp_path, name, column, method, kept
):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(24, 4))
    values[:, 3] *= 0.1
    values[5, 3] = 1e3  # thousands of MADs
    head = pd.DataFrame(
        {
            "Metadata_Plate": "P",
            "Metadata_Batch": "B",
            "Metadata_Well": [f"A{i + 1:02d}" for i in range(24)],
            "Metadata_Perturbation": ["DMSO"] * 8 + [f"c{i % 8}" for i in range(16)],
            "Metadata_Control": ["negcon"] * 8 + [""] * 16,
        }
    )
    table = pd.concat(
        [head, pd.DataFrame(values, columns=[f"{column}{i}" for i in range(4)])], axis=1
    )
    card = {"method": method, "architecture": "vit_small_patch16"}
    record = {"checkpoint": card} if method else {}
    write_profiles(table, tmp_path / "x.parquet", record)
    profiles = {name: str(tmp_path / "x.parquet")}
    features = load_features(profiles=profiles, method="mad_robustize")
    assert len(feature_columns(features.normalized()[name])) == kept
    by_default = load_features(profiles=profiles).methods[name]
    assert by_default == ("mad_robustize" if kept == 3 else "sphere+mad_robustize")
    unscaled = load_features(profiles=profiles, method="none").normalized()[name]
    assert len(feature_columns(unscaled)) == 4, "500 of what?"


def test_what_is_given_by_name_may_be_text(well_features, tmp_path) -> None:
    """Plain papermill hands JSON text to a notebook that jupytext has converted."""
    file = put(well_features, tmp_path / "x.csv")
    profiles = {"A": file, "B": [file]}
    text = load_features(profiles=json.dumps(profiles), method='{"A": "none"}', checkpoints="{}")
    named = load_features(profiles=profiles, method={"A": "none"})
    assert text.methods == named.methods == {"A": "none", "B": "sphere+mad_robustize"}
    for name in profiles:
        pd.testing.assert_frame_equal(text.normalized()[name], named.normalized()[name])
    with pytest.raises(InputError, match="profiles must be a dictionary as JSON"):
        load_features(profiles="x.csv")


@pytest.mark.parametrize(
    ("checkpoints", "message"),
    [
        ("x.pth", "checkpoints must be a dictionary as JSON"),
        ({"Mine": "x.pth"}, r"x\.pth: no such"),
    ],
)
def test_networks_are_asked_for_before_a_screen_is_drawn(
    checkpoints: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        load_features(checkpoints=checkpoints)
    assert not (tmp_path / "data").exists()


def test_a_card_beside_a_foreign_table_says_what_its_features_are(well_features, tmp_path) -> None:
    file = put(well_features, tmp_path / "x.csv")
    card = tmp_path / "x.yaml"
    card.write_text("feature_type: {kind: measured, method: CellProfiler}")
    features = load_features(profiles={"By hand": file})
    assert features.methods == {"By hand": "mad_robustize"}
    assert features.find("CellProfiler") == "By hand" and features.find("DINO") is None
    card.write_text("feature_type: {kind: release}")
    with pytest.raises(InputError, match=r"x\.yaml: feature_type must be a mapping with kind"):
        load_features(profiles={"By hand": file})


def test_the_ceiling_is_what_the_wells_were_drawn_with(screen: Path) -> None:
    features = load_features(screen, ceiling=True, method="sphere")
    assert {name: one.kind for name, one in features.types.items()} == {
        **dict.fromkeys(("DINO", "MAE", "SimCLR"), "learned"),
        "Random weights": "baseline",
        CEILING: "drawn",
    }
    assert features.methods["Random weights"] == features.methods["DINO"]
    assert features.methods[CEILING] == "mad_robustize" != features.methods["DINO"]
    wells = features.raw[CEILING]
    key = ["Metadata_Plate", "Metadata_Well", "Metadata_Perturbation", "Metadata_Control"]
    both = wells.merge(features.raw["DINO"], on=key)
    assert len(both) == len(wells) == len(features.raw["DINO"])
    assert set(wells["Metadata_Origin"]) == {"simulated"}


def test_parameters_that_nothing_moves_do_not_break_the_ceiling(screen, tmp_path) -> None:
    truth = pd.read_parquet(screen.parent / "truth.parquet")
    n = sum(name.startswith("well_") for name in truth)
    truth["well_agp_amount"] = 0.1  # whose standard deviation is a rounding error, not 0
    truth["well_vacuoles"] = 0.0
    truth["well_dead_share"] *= 1e-6  # small numbers that vary stay
    truth.to_parquet(tmp_path / "truth.parquet")
    wells = true_phenotype(tmp_path / "images.parquet")
    assert wells is not None and len(feature_columns(wells)) == n - 2
    normal = normalized(assign_roles(wells), "drawn")
    assert np.isfinite(normal[feature_columns(normal)].to_numpy()).all()
    assert len(feature_columns(normal)) == n - 2
    assert true_phenotype(tmp_path / "elsewhere" / "images.parquet") is None
