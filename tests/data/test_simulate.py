"""The simulated screen: layout, truth, determinism, resuming, refusals."""

import os
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import sha256
from cpssl_lite.data.simulate import effects, screen
from cpssl_lite.data.simulate.layout import SCREENS, choose, layout, library
from cpssl_lite.data.simulate.library import generator
from cpssl_lite.data.simulate.phenotype import CONTROL, NAMES
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.images.scale import scale_intensities, to_uint16
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_header, read_merged, read_plane

SMALL = {"rows": 1, "columns": 4, "control_columns": (1,), "n_targets": 2, "size": 128}


def card(folder):
    return yaml.safe_load((folder / "dataset.yaml").read_text())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return simulate("tiny", folder, workers=1, raw_wells=2).parent


def test_image_table_reads_as_any_other(tiny):
    table = read_image_table(tiny / "images.parquet")
    assert len(table) == 24
    assert all(os.path.isabs(path) for path in table["FileName_Merged"])
    assert (table["Metadata_Control"] == "negcon").sum() == 8
    assert set(table.loc[table["Metadata_Control"] == "negcon", "Metadata_Perturbation"]) == {
        "DMSO"
    }
    field = read_merged(table["FileName_Merged"].iloc[0])
    assert field.pixels.shape == (5, 256, 256) and field.channels == CHANNELS
    assert field.otsu == pytest.approx(otsu_threshold(field.pixels[4]))
    # Scaled: every channel uses the whole range.
    assert field.pixels.reshape(5, -1).min(1).tolist() == [0] * 5
    assert field.pixels.reshape(5, -1).max(1).tolist() == [65535] * 5


def test_raw_form_gives_the_merged_form(tiny):
    load_data = pd.read_csv(tiny / "load_data.csv", dtype=str)
    assert len(load_data) == 2 * 2
    row = load_data.iloc[0]
    planes = [
        read_plane(tiny / row[f"PathName_Orig{c}"] / row[f"FileName_Orig{c}"]) for c in CHANNELS
    ]
    merged = read_merged(
        tiny / "images" / row["Metadata_Plate"] / f"{row['Metadata_Well']}_s1.tiff"
    )
    np.testing.assert_array_equal(to_uint16(scale_intensities(np.stack(planes))), merged.pixels)


def test_same_seed_same_bytes_and_other_seed_other_pixels(tmp_path):
    a, b = (simulate("tiny", tmp_path / n, seed=3, workers=1, **SMALL).parent for n in "ab")
    assert card(a) == card(b)
    c = simulate("tiny", tmp_path / "c", seed=4, workers=1, **SMALL).parent
    assert card(a)["images_sha256"] != card(c)["images_sha256"]


def test_number_of_workers_changes_nothing(tmp_path, monkeypatch):
    one = simulate("tiny", tmp_path / "one", workers=1, **SMALL).parent
    monkeypatch.setattr(screen, "SMALL", 0)  # so that two workers really are two processes
    two = simulate("tiny", tmp_path / "two", workers=2, **SMALL).parent
    assert card(one) == card(two)


@pytest.mark.parametrize("off", ["X86_V4 X86_V3", "AVX512_SKX AVX512F AVX2 FMA3"])
def test_processor_features_change_nothing(tmp_path, off):
    """Old and new processors take other paths through NumPy; the bytes must not tell."""
    here = simulate("tiny", tmp_path / "here", workers=1, **SMALL).parent
    code = (
        "import sys; from cpssl_lite.data.simulate.screen import simulate;"
        f"simulate('tiny', sys.argv[1], workers=1, **{SMALL!r})"
    )
    there = tmp_path / "there"
    env = {**os.environ, "NPY_DISABLE_CPU_FEATURES": off}
    done = subprocess.run(
        [sys.executable, "-c", code, there], env=env, capture_output=True, text=True
    )
    if "RuntimeError" in done.stderr and "CPU_FEATURES" in done.stderr:
        pytest.skip("this NumPy cannot switch these features off")
    assert done.returncode == 0, done.stderr
    assert card(there)["images_sha256"] == card(here)["images_sha256"]


@pytest.mark.parametrize("name", ["lite", "lite-train", "lite-orf"])
def test_layout_of_the_big_screens(name):
    wells = layout(SCREENS[name], 0)
    assert len(wells) == 8 * 96 and SCREENS[name].n_sites == 2
    by_plate = pd.Series([w.plate for w in wells]).value_counts()
    assert len(by_plate) == 8 and set(by_plate) == {96}
    controls = [w for w in wells if w.perturbation is None]
    assert len(controls) == 8 * 32
    assert {w.column + 1 for w in controls} == {1, 5, 8, 12}
    names = {p.name for p in library(SCREENS[name], 0)}
    assert {w.perturbation.name for w in wells if w.perturbation} == names
    assert len(names) == {"lite": 64, "lite-train": 256, "lite-orf": 64}[name]


def test_plates_of_a_batch_share_the_layout_and_batches_do_not():
    at = {}
    for w in layout(SCREENS["lite"], 0):
        at.setdefault(w.plate, {})[w.name] = w.perturbation.name if w.perturbation else "DMSO"
    plates = list(at)
    assert plates[:2] == ["S1-B1-P01", "S1-B1-P02"]
    assert at[plates[0]] == at[plates[1]]
    assert at[plates[0]] != at[plates[2]] and at[plates[0]] != at[plates[4]]
    assert sorted(at[plates[0]].values()) == sorted(at[plates[4]].values())


def test_lite_and_train_share_optics_but_no_plate_and_no_compound():
    lite, train = SCREENS["lite"], SCREENS["lite-train"]
    a, b = layout(lite, 0), layout(train, 0)
    assert {w.batch for w in a} == {w.batch for w in b}
    assert not {w.plate for w in a} & {w.plate for w in b}
    assert not {p.name for p in library(lite, 0)} & {p.name for p in library(train, 0)}
    same = replace(lite, batch_strength=0.0)  # then nothing depends on batch and plate
    assert effects.optics(same, 0, a[0]) == effects.optics(same, 0, b[0])


def test_strengths_are_graded_and_some_are_zero():
    tested = library(SCREENS["lite"], 0)
    strengths = np.array([p.strength for p in tested])
    assert (strengths == 0).sum() == 6  # two targets, and the second compound of two more
    active = np.sort(strengths[strengths > 0])
    assert active[0] < 0.65 and active[-1] == 5.0 and len(np.unique(active)) > 30
    by_target = pd.Series(strengths).groupby([p.target for p in tested])
    assert by_target.size().eq(2).all() and len(by_target) == 32
    assert by_target.max().eq(0).sum() == 2


def test_compounds_of_a_target_agree_more_than_those_of_others():
    tested = library(SCREENS["lite"], 0)
    steps = np.array([[p.direction.get(n, 0.0) for n in NAMES] for p in tested])
    alone = np.array([set(p.direction) == {"cell_count"} for p in tested])
    steps, tested = steps[~alone], [p for p, a in zip(tested, alone, strict=True) if not a]
    unit = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    cosine = unit @ unit.T
    same = np.array([[p.target == q.target for q in tested] for p in tested])
    other_group = np.array([[p.group != q.group for q in tested] for p in tested])
    np.fill_diagonal(same, False)
    assert cosine[same].min() > 0.6
    assert cosine[other_group].mean() < 0.2


def test_the_number_of_cells_is_an_axis_of_its_own():
    tested = library(SCREENS["lite"], 0)
    moved = [p for p in tested if "cell_count" in p.direction]
    alone = {p.target for p in moved if set(p.direction) == {"cell_count"}}
    assert len({p.target for p in moved}) == 4 and len(alone) == 2
    assert all(p.direction["cell_count"] < 0 for p in moved)
    # Whether a treatment moves it says nothing about its strength.
    assert min(p.strength for p in moved) < 2 < max(p.strength for p in moved)


def test_strength_zero_is_the_control_exactly():
    for p in library(SCREENS["lite"], 0):
        moved = CONTROL.moved(p.steps())
        assert (moved == CONTROL) == (p.strength == 0)
        assert CONTROL.moved(p.steps(phenotype_strength=0.0)) == CONTROL
    quiet = choose(
        "lite", 0, 1, {"batch_strength": 0, "source_strength": 0, "phenotype_strength": 0}
    )
    drawn = pd.DataFrame(
        {"treated": w.perturbation is not None, **asdict(effects.of_well(quiet, 0, w)[0])}
        for w in layout(quiet, 0)
    )
    # Wells still differ by chance, treated ones no more than controls.
    for name in ("nucleus_size", "er_texture", "cell_count"):
        groups = np.log2(drawn[name]).groupby(drawn["treated"])
        difference = np.diff(groups.mean())[0]
        error = np.sqrt((groups.var() / groups.size()).sum())
        assert 0 < groups.std().min() and abs(difference) < 4 * error


def test_technical_effects_can_be_switched_off_and_up():
    def spread(level: str, **strengths: float) -> float:
        s = choose("lite", 0, 1, strengths)
        drawn = pd.DataFrame(
            {"level": getattr(w, level), "gain": np.log2(effects.of_well(s, 0, w)[1].gain[2])}
            for w in layout(s, 0)[::12]
        )
        return float(drawn.groupby("level")["gain"].mean().std())

    off = {"batch_strength": 0.0, "source_strength": 0.0}
    assert spread("batch", **off) == 0 and spread("source", **off) == 0
    assert spread("source", batch_strength=0.0, source_strength=2.0) == pytest.approx(
        2 * spread("source", batch_strength=0.0, source_strength=1.0)
    )
    assert spread("batch", batch_strength=2.0, source_strength=0.0) > spread(
        "batch", batch_strength=1.0, source_strength=0.0
    )


def test_truth_agrees_with_library_images_and_files(tiny):
    truth = pd.read_parquet(tiny / "truth.parquet")
    compounds = pd.read_parquet(tiny / "compounds.parquet").set_index("Metadata_Perturbation")
    images = pd.read_parquet(tiny / "images.parquet")
    keys = ["Metadata_Plate", "Metadata_Well", "Metadata_Perturbation", "Metadata_Target"]
    merged = images.merge(truth, on=keys, validate="one_to_one")
    assert len(merged) == len(truth) == 24
    treated = truth[truth["Metadata_Control"] == ""]
    for column in ["strength", *(f"compound_{name}" for name in NAMES)]:
        np.testing.assert_array_equal(
            treated[column], compounds[column].loc[treated["Metadata_Perturbation"]]
        )
    controls = truth[truth["Metadata_Control"] == "negcon"]
    assert (controls["strength"] == 0).all()
    assert (controls["compound_nucleus_size"] == CONTROL.nucleus_size).all()
    cells = [int(read_header(tiny / name)[1]["cells"]) for name in merged["FileName_Merged"]]
    assert merged["cells"].tolist() == cells


def test_assays_know_their_best_auc(tiny):
    labels = pd.read_parquet(tiny / "assays.parquet")
    truth = pd.read_parquet(tiny / "assays_truth.parquet").set_index("assay")
    assert set(np.unique(labels.drop(columns="Metadata_Perturbation"))) <= {-1, 0, 1}
    assert (labels[truth.index] == 1).sum().tolist() == truth["n_active"].tolist()
    silent = truth[(truth["noise"] == 0) & truth["best_auc"].notna()]
    assert len(silent) and (silent["best_auc"] == 1).all()


def test_a_killed_run_goes_on_where_it_was(tmp_path, monkeypatch):
    whole = simulate("tiny", tmp_path / "whole", workers=1, **SMALL).parent
    broken, drawn = tmp_path / "broken", []
    real = screen.draw_field

    def counted(*arguments):
        drawn.append(1)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(screen, "draw_field", counted)
    with pytest.raises(KeyboardInterrupt):
        simulate("tiny", broken, workers=1, **SMALL)
    assert len(list(broken.glob("images/*/*"))) == 3 and not (broken / "images.parquet").exists()
    simulate("tiny", broken, workers=1, **SMALL)
    assert len(drawn) == 4 + 5  # eight fields, three were there
    assert card(broken) == card(whole)


def test_a_finished_data_set_is_returned_at_once(tmp_path, monkeypatch):
    table = simulate("tiny", tmp_path, workers=1, **SMALL)
    lost = next(tmp_path.glob("images/*/*"))
    before = sha256(lost)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert simulate("tiny", tmp_path, workers=1, **SMALL) == table
    assert times == {path: path.stat().st_mtime_ns for path in times}
    lost.unlink()
    simulate("tiny", tmp_path, workers=1, **SMALL)
    assert sha256(lost) == before


def test_another_data_set_in_the_folder_is_refused(tmp_path):
    simulate("tiny", tmp_path, workers=1, **SMALL)
    with pytest.raises(InputError, match=r"parameter seed: 0, now 1"):
        simulate("tiny", tmp_path, seed=1, workers=1, **SMALL)
    with pytest.raises(InputError, match=r"batch_strength: 1\.0, now 2\.0"):
        simulate("tiny", tmp_path, workers=1, **SMALL, batch_strength=2.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "light"}, "no simulated screen 'light'; there are lite, lite-train"),
        ({"n_plate": 3}, "no parameter 'n_plate'; there are library, n_sources"),
        ({"n_plates": 0}, "n_plates must be 1 to 1000, got 0"),
        ({"rows": 17}, "rows must be 1 to 16, got 17"),
        ({"batch_strength": -1}, "batch_strength must be 0 to 10, got -1"),
        ({"batch_strength": "strong"}, "batch_strength must be a number, got 'strong'"),
        ({"batch_strength": float("nan")}, "batch_strength must be 0 to 10, got nan"),
        ({"size": 130}, "size must be a multiple of 4, got 130"),
        ({"control_columns": (9,)}, "control_columns must be some of 1 to 6"),
        ({"control_columns": 3}, "control_columns must be a list of numbers, got 3"),
        ({"library": "orf", "families": []}, "families must be a list of numbers, got ()"),
        ({"library": 3}, "library must be a word, got 3"),
        ({"labelled": "yes"}, "labelled must be true or false, got 'yes'"),
        ({"seed": -1}, "seed must be an integer of 0 or more, got -1"),
        ({"workers": 0}, "workers must be an integer of 1 or more, got 0"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(InputError) as error:
        simulate(**{"name": "tiny", "out": tmp_path / "new", **arguments})
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        simulate("tiny", tmp_path / "file" / "inside")


def test_a_damaged_card_is_refused(tmp_path):
    (tmp_path / "dataset.yaml").write_text("{unclosed")
    with pytest.raises(InputError, match=r"dataset\.yaml: .* cannot be read .*delete it"):
        simulate("tiny", tmp_path)


def test_streams_depend_on_names_only():
    first = generator(0, "field", "P1", "A01", 1).random(3)
    generator(0, "field", "P1", "A02", 1).random(3)
    np.testing.assert_array_equal(first, generator(0, "field", "P1", "A01", 1).random(3))
    assert (first != generator(1, "field", "P1", "A01", 1).random(3)).all()
