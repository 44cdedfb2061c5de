"""The commands as people type them: results, and one clear line with exit status 2."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.tiff import write_merged
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.evidence import evidence
from cpssl_lite.profiles.relations import relation_numbers
from cpssl_lite.profiles.table import feature_columns, read_profiles, read_provenance


@pytest.fixture
def refused(cpssl):
    """Run a command that must fail: exit status 2 and one last line that starts with cpssl."""

    def run(*words):
        code, _, error = cpssl(*words)
        assert code == 2, error
        last = error.strip().splitlines()[-1]
        assert last.startswith("cpssl: "), error
        assert "Traceback" not in error
        return last

    return run


@pytest.fixture
def screen(tmp_path):
    """An image table of four wells of 150 px fields, as a CSV."""
    generator = np.random.default_rng(0)
    rows = []
    for well, name in [("A01", "DMSO"), ("A02", "c1"), ("B01", "c2"), ("B02", "c3")]:
        pixels = generator.integers(0, 60000, (5, 150, 150), dtype=np.uint16)
        write_merged(tmp_path / f"{well}.tif", pixels, 0.3)
        rows.append([*"SBP", well, "1", name, f"{well}.tif"])
    names = ["Source", "Batch", "Plate", "Well", "Site", "Perturbation"]
    table = tmp_path / "images.csv"
    columns = [*(f"Metadata_{name}" for name in names), "FileName_Merged"]
    pd.DataFrame(rows, columns=columns).to_csv(table, index=False)
    return table


def profiles(path, **changes):
    """A small profile table: two batches, four perturbations, two targets, controls."""
    generator = np.random.default_rng(1)
    rows = []
    for batch in ("b1", "b2"):
        for number, name in enumerate(["DMSO"] * 8 + ["c1", "c2", "c3", "c4"]):
            target = {"c1": "t1", "c2": "t1", "c3": "t2", "c4": "t2"}.get(name, "")
            rows.append(["s", batch, f"{batch}p", f"A{number + 1:02d}", name, target])
    names = ["Source", "Batch", "Plate", "Well", "Perturbation", "Target"]
    table = pd.DataFrame(rows, columns=[f"Metadata_{name}" for name in names])
    values = generator.normal(size=(len(table), 4))
    table[[f"emb_{i:04d}" for i in range(4)]] = values
    table.assign(**changes).to_csv(path, index=False)
    return path


def test_import_is_light():
    """`import cpssl_lite` and --help must not pay for torch."""
    code = "import sys, cpssl_lite, cpssl_lite.cli.main; print([m for m in sys.modules if m in "
    code += "('torch', 'pandas', 'numpy', 'sklearn', 'matplotlib', 'lightning')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_extract_normalize_evaluate(cpssl, screen, tmp_path):
    raw, out = tmp_path / "raw.parquet", tmp_path / "profiles.parquet"
    assert cpssl("extract", screen, "-o", raw)[0] == 0
    table = read_profiles(raw)
    assert len(table) == 4 and table["Metadata_Well"].tolist() == ["A01", "A02", "B01", "B02"]
    assert np.isfinite(table[feature_columns(table)].to_numpy()).all()

    random = tmp_path / "random.parquet"
    assert cpssl("extract", screen, "-o", random, "--random-weights", "--seed", 3)[0] == 0
    assert not np.allclose(
        read_profiles(random)[feature_columns(table)], table[feature_columns(table)]
    )

    given = profiles(tmp_path / "mine.csv")
    assert cpssl("normalize", given, "-o", out, "--method", "mad_robustize")[0] == 0
    code, printed, _ = cpssl("evaluate", out, f"Again={out}", "-o", tmp_path / "m.json")
    assert code == 0 and "perturbation_map" in printed
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert list(metrics) == ["profiles", "Again"]
    assert metrics["profiles"] == metrics["Again"]
    assert metrics["profiles"]["n_wells"] == 8


def test_select_before_and_after_normalize(cpssl, refused, tmp_path):
    table = pd.read_csv(profiles(tmp_path / "mine.csv"), dtype={"Metadata_Plate": str})
    first, *rest = feature_columns(table)
    table[f"{first}9"] = -table[first]
    table[f"{first}8"] = 1.0
    table.loc[2, rest[0]] = np.nan
    table.to_csv(tmp_path / "mine.csv", index=False)
    complete, out = tmp_path / "complete.parquet", tmp_path / "out.parquet"
    line = refused("normalize", tmp_path / "mine.csv", "-o", out)
    assert "is NaN" in line and "cpssl select --rules missing" in line
    names = tmp_path / "names.txt"
    names.write_text(rest[1])
    given = (tmp_path / "mine.csv", "-o", complete)
    assert cpssl("select", *given, "--rules", "missing", "--blocklist", names)[0] == 0
    left = [first, *rest[2:], f"{first}9", f"{first}8"]
    assert sorted(feature_columns(read_profiles(complete))) == sorted(left)
    assert cpssl("normalize", complete, "-o", out, "--method", "mad_robustize")[0] == 0
    assert cpssl("select", out, "-o", complete, "--rules", "variance,correlation")[0] == 0
    assert len(feature_columns(read_profiles(complete))) <= len(left) - 2
    assert "not one of missing" in refused("select", out, "-o", complete, "--rules", "best")
    assert "no such" in refused("select", tmp_path / "no.csv", "-o", complete)
    assert "no.txt" in refused("select", out, "-o", complete, "--keep", tmp_path / "no.txt")


def test_photographs_network_on_the_command_line(refused, screen, tmp_path):
    line = refused("extract", screen, "-o", tmp_path / "raw.parquet", "--transfer", "resnet")
    assert "'resnet' is not one of stand-in, ViT-S/16, ViT-B/16" in line


def test_undefined_numbers_are_null_in_json(cpssl, tmp_path):
    one_batch = profiles(tmp_path / "one.csv", Metadata_Batch="b", Metadata_Target="")
    assert cpssl("evaluate", one_batch, "-o", tmp_path / "m.json")[0] == 0
    metrics = json.loads((tmp_path / "m.json").read_text())["one"]
    assert metrics["perturbation_acc_nsb"] is None and metrics["label_map"] is None


def test_evaluate_writes_the_evidence_or_a_row_per_perturbation(cpssl, tmp_path):
    table, out, per = profiles(tmp_path / "mine.csv"), tmp_path / "m.json", tmp_path / "r.parquet"
    how = ("--null", 500, "--seed", 2)
    assert cpssl("evaluate", table, "-o", out, *how)[0] == 0
    written = json.loads(out.read_text())["mine"]
    numbers, rows = evidence(read_profiles(table), null=500, seed=2)
    present = evaluate(read_profiles(table))
    numbers |= relation_numbers(read_profiles(table))
    assert list(written) == [*present, *numbers]
    for key, value in (present | numbers).items():
        assert np.isnan(value) if written[key] is None else written[key] == value, key
    words = ("evaluate", table, f"Again={table}", "--per", "perturbation", "-o", per)
    assert cpssl(*words, *how, "--fdr", "two-stage")[0] == 0
    stored = pd.read_parquet(per)
    assert stored["profile"].tolist() == ["mine"] * 4 + ["Again"] * 4
    np.testing.assert_array_equal(stored["activity_p"][:4], rows["activity_p"])
    assert stored["activity_positives"].tolist() == [1.0] * 8
    assert read_provenance(per)["fdr"] == "two-stage"
    wells = tmp_path / "wells.h5ad"
    assert cpssl("evaluate", table, "--per", "perturbation", "-o", wells, *how)[0] == 0
    obs = pytest.importorskip("anndata").read_h5ad(wells).obs
    by = rows.set_index("Metadata_Perturbation")["activity_p"]
    np.testing.assert_array_equal(obs["activity_p"], by.reindex(obs["Metadata_Perturbation"]))
    assert "AnnData holds the wells of one table, got 2" in cpssl(*words[:-1], wells)[2]


@pytest.mark.parametrize("method", ["DINO", "MAE", "CellProfiler"])
def test_released_convention_gives_the_authors_numbers(cpssl, parity, tmp_path, method):
    table = parity / "eval" / "compound" / method / "well_features.csv"
    out = tmp_path / "m.json"
    assert cpssl("evaluate", table, "-o", out, "--convention", "released")[0] == 0
    got = json.loads(out.read_text())[method]
    expected = json.loads((parity / "eval" / "expected_summary.json").read_text())
    expected = expected[f"compound/{method}"]
    for ours, theirs in {
        "perturbation_acc_nn": "pert_acc",
        "perturbation_acc_nsb": "pert_acc_NSB",
        "label_acc_nsp": "target_acc_NSP",
        "label_acc_nsbp": "target_acc_NSBP",
        "perturbation_map": "pert_batchagg_mAP",
        "label_map": "target_consensus_mAP",
        "replicate_correlation": "repl_corr",
        "percent_replicating": "percent_95_seed507_fresh",
    }.items():
        assert got[ours] == pytest.approx(expected[theirs], abs=1e-9), ours


@pytest.mark.parametrize("convention", [[], ["--convention", "released"]])
def test_authors_checkpoint_gives_the_authors_features(cpssl, parity, tmp_path, convention):
    folder = parity / "inference"
    out = tmp_path / "raw.parquet"
    words = ["--checkpoint", folder / "checkpoints" / "dino_micro.pth", "-o", out, *convention]
    assert cpssl("extract", folder / "dataset.csv", *words)[0] == 0
    expected = folder / "expected" / "dino_micro" / "no_post_proc" / "well_features.csv"
    got, want = read_profiles(out), read_profiles(expected)
    key = ["Metadata_Batch", "Metadata_Plate", "Metadata_Well"]
    both = got.merge(want, on=key, validate="1:1")
    assert len(both) == len(want) == len(got)
    difference = both[feature_columns(got)].to_numpy() - both[feature_columns(want)].to_numpy()
    assert np.abs(difference).max() < 2e-4


def test_real_fields_from_raw_to_metrics(cpssl, real, tmp_path):
    manifest = pd.read_csv(real / "images" / "manifest.csv", dtype=str)
    wide = manifest.pivot_table(
        index=["plate", "well", "field", "pert_iname"], columns="channel", values="file",
        aggfunc="first",
    ).reset_index()  # fmt: skip
    table = pd.DataFrame(
        {
            "Metadata_Plate": wide["plate"],
            "Metadata_Batch": wide["plate"],
            "Metadata_Well": wide["well"],
            "Metadata_Site": wide["field"],
            "Metadata_Perturbation": wide["pert_iname"],
            **{f"FileName_Orig{name}": str(real) + "/" + wide[name] for name in CHANNELS},
        }
    )
    table.to_csv(tmp_path / "load_data.csv", index=False)
    assert cpssl("data", "prepare", tmp_path / "load_data.csv", "-o", tmp_path / "real")[0] == 0
    raw = tmp_path / "raw.parquet"
    assert cpssl("extract", tmp_path / "real" / "images.parquet", "-o", raw)[0] == 0
    assert len(read_profiles(raw)) == 7
    assert cpssl("evaluate", raw, "-o", tmp_path / "m.json")[0] == 0
    assert json.loads((tmp_path / "m.json").read_text())["raw"]["n_wells"] == 6


def test_bad_images(refused, screen, tmp_path):
    out = tmp_path / "out.parquet"
    file = tmp_path / "A02.tif"
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"no picture", b""):
        file.write_bytes(content)
        assert "A02.tif" in refused("extract", screen, "-o", out)
        line = refused("data", "prepare", screen, "-o", tmp_path / "made")
        assert "A02.tif" in line

    tifffile.imwrite(file, np.zeros((4, 150, 150), np.uint16))
    line = refused("extract", screen, "-o", out)
    assert "A02.tif" in line and "4" in line

    write_merged(file, np.ones((5, 150, 140), np.uint16), 0.3)
    line = refused("extract", screen, "-o", out)
    assert "A02.tif" in line and "150 x 140" in line
    assert "A02.tif" in refused("data", "prepare", screen, "-o", tmp_path / "made")

    file.unlink()
    assert "A02.tif" in refused("extract", screen, "-o", out)
    assert not out.exists() and not (tmp_path / "made" / "images.parquet").exists()


def test_bad_tables(refused, screen, tmp_path):
    out = tmp_path / "out.parquet"
    table = pd.read_csv(screen)
    table.drop(columns="Metadata_Well").to_csv(screen, index=False)
    assert "Metadata_Well" in refused("extract", screen, "-o", out)
    assert "no such" in refused("extract", tmp_path / "nothing.csv", "-o", out)

    mine = tmp_path / "mine.csv"
    profiles(mine, Metadata_Well="A01")
    line = refused("evaluate", mine, "-o", tmp_path / "m.json")
    assert "A01" in line and "mine.csv" in line
    profiles(mine, **{f"emb_{i:04d}": np.nan for i in range(4)})
    assert "NaN" in refused("evaluate", mine, "-o", tmp_path / "m.json")
    profiles(mine)
    assert "Metadata_Nothing" in refused(
        "evaluate", mine, "-o", tmp_path / "m.json", "--label", "Metadata_Nothing"
    )
    pd.read_csv(mine).drop(columns="Metadata_Batch").to_csv(mine, index=False)
    assert "Metadata_Batch" in refused("evaluate", mine, "-o", tmp_path / "m.json")
    assert "spherize" in refused("normalize", mine, "-o", out, "--method", "spherize+mad")
    assert not out.exists() and not (tmp_path / "m.json").exists()


def test_bad_arguments(refused, screen, tmp_path):
    out = tmp_path / "out.parquet"
    line = refused("extract", screen, "-o", out, "--checkpoint", tmp_path / "no.pth")
    assert "no.pth" in line
    line = refused("run", "ssl_comparison", "-p", "sead=1")
    assert "sead" in line and "seed" in line
    assert "NAME=VALUE" in refused("run", "ssl_comparison", "-p", "seed")
    assert "lite" in refused("data", "simulate", "light", "-o", tmp_path / "light")
    refused("extract", screen, "-o", out, "--precision", "fp16")

    for words in (["extract", screen], ["train", "dino", screen]):
        assert "srun or torchrun" in refused(*words, "-o", out, "--nodes", 2)

    blocked = tmp_path / "file"
    blocked.touch()
    mine = profiles(tmp_path / "mine.csv")
    for words in (
        ["extract", screen, "-o", blocked / "out.parquet"],
        ["normalize", mine, "--method", "none", "-o", blocked / "out.parquet"],
        ["evaluate", mine, "-o", blocked / "m.json"],
        ["data", "prepare", screen, "-o", blocked / "made"],
        ["data", "simulate", "tiny", "-o", blocked / "tiny"],
    ):
        assert "cannot be written" in refused(*words)
    assert blocked.read_bytes() == b""


def test_no_command_writes_over_what_it_reads(refused, screen, tmp_path):
    mine = profiles(tmp_path / "mine.csv")
    table, images = tmp_path / "mine.parquet", tmp_path / "images.parquet"
    pd.read_csv(mine).to_parquet(table)
    pd.read_csv(screen).to_parquet(images)
    for given, words in (
        (table, ["normalize", mine, table]), (table, ["select", table]),
        (table, ["evaluate", f"Mine={table}"]), (images, ["extract", images]),
        (images, ["measure", images]),
    ):  # fmt: skip
        before = given.read_bytes()
        assert "is read as well" in refused(*words, "-o", given)
        assert given.read_bytes() == before


@pytest.mark.parametrize("name", ["name", "out", "seed", "workers"])
def test_a_screen_parameter_that_is_an_option(refused, tmp_path, name):
    words = "data", "simulate", "tiny", "-o", tmp_path / "x", "-p", f"{name}=3"
    assert f"-p {name}: is an argument or option of its own" in refused(*words)


@pytest.mark.parametrize("step", ["fetch", "prepare", "qc"])
def test_no_workers_at_all(refused, tmp_path, step):
    words = "data", step, "cpjump1_examples", "-o", tmp_path / "x", "--workers", 0
    assert "'--workers': 0 is not in the range x>=1" in refused(*words)


def test_errors_about_a_table_name_its_file(refused, tmp_path):
    good, bad = profiles(tmp_path / "good.csv"), profiles(tmp_path / "bad.csv", Metadata_Batch="")
    out = tmp_path / "m.json"
    assert f"{bad}: nothing in column Metadata_Batch" in refused("evaluate", good, bad, "-o", out)
    out = tmp_path / "n.parquet"
    bad = profiles(tmp_path / "bad.csv", Metadata_Perturbation="c")
    line = refused("normalize", bad, "-o", out)
    assert f"{bad}: nothing in column Metadata_Control" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "good.csv"]


def test_every_command_has_an_example(cpssl):
    for words in (
        ["data", "list"], ["data", "simulate"], ["data", "fetch"], ["data", "prepare"],
        ["data", "qc"], ["train"], ["extract"],
        ["normalize"], ["select"], ["measure"], ["evaluate"], ["inspect"], ["run"], ["book"],
    ):  # fmt: skip
        code, printed, _ = cpssl(*words, "--help")
        assert code == 0 and f"cpssl {' '.join(words)}" in printed.split("Example:")[1]


def test_no_words_give_the_help_as_it_is(cpssl):
    for words in ([], ["data"]):
        code, printed, error = cpssl(*words)
        assert code == 2 and "\nCommands:\n" in printed + error


def test_a_command_given_wrongly_points_to_its_help(refused):
    assert refused("extract").endswith("See cpssl extract --help.")
    assert "did you mean '--out'? see cpssl data qc" in refused("data", "qc", "--uot", "x").lower()
    assert refused("extrakt").endswith("See cpssl --help.")


def test_what_is_assumed_about_a_checkpoint_is_said(cpssl, screen, tmp_path):
    from cpssl_lite.models.vit import build_vit

    torch = pytest.importorskip("torch")
    torch.save(build_vit("vit_lite_patch16").state_dict(), tmp_path / "mine.pth")
    words = ["extract", screen, "--checkpoint", tmp_path / "mine.pth", "-o", tmp_path / "r.parquet"]
    assert "mine.pth: the order of the channels is not in the file" in cpssl(*words)[2]
    (tmp_path / "mine.yaml").write_text("input: {channels: [Mito, AGP, RNA, ER, DNA]}")
    assert "the order of the channels" not in cpssl(*words)[2]


def test_the_readme_names_commands_that_exist(cpssl):
    readme = Path(__file__).parents[2].joinpath("README.md").read_text()
    named = {
        line.split("`cpssl ")[1].split()[0] for line in readme.splitlines() if "`cpssl " in line
    }
    assert {"extract", "evaluate", "run"} <= named
    for command in named - {"data"}:
        assert cpssl(command, "--help")[0] == 0


def test_an_unexpected_disk_error_is_one_line(refused, monkeypatch):
    def fail():
        raise OSError(5, "Input/output error", "/disk/that/went/away")

    monkeypatch.setattr("cpssl_lite.data.manifests.list_manifests", fail)
    assert refused("data", "list") == "cpssl: /disk/that/went/away: Input/output error"


def test_debug_shows_where_an_error_comes_from(cpssl, tmp_path):
    words = ["evaluate", tmp_path / "gone.parquet", "-o", tmp_path / "m.json"]
    code, _, told = cpssl(*words)
    assert code == 2 and "Traceback" not in told
    code, _, told_in_full = cpssl("--debug", *words)
    assert code == 2 and "Traceback" in told_in_full and told_in_full.endswith(told)


def test_a_fetched_data_set_is_prepared_by_its_name(cpssl, refused, tmp_path, monkeypatch):
    monkeypatch.setenv("CPSSL_CACHE", str(tmp_path))
    words = ["data", "prepare", "cpjump1_examples", "-o", tmp_path / "out"]
    assert "fetch it first: cpssl data fetch cpjump1_examples" in refused(*words)
    assert "no such image table" in refused("data", "prepare", "unknown", "-o", tmp_path / "out")
    row = {"Metadata_Plate": "P", "Metadata_Well": "A01"}
    (tmp_path / "cpjump1_examples").mkdir()
    for k, name in enumerate(CHANNELS):
        tifffile.imwrite(tmp_path / f"{name}.tiff", np.eye(40, k=k, dtype=np.uint16))
        row[f"FileName_Orig{name}"] = str(tmp_path / f"{name}.tiff")
    pd.DataFrame([row]).to_csv(tmp_path / "cpjump1_examples/load_data.csv", index=False)
    code, printed, _ = cpssl(*words, "--qc")
    assert code == 0 and (tmp_path / "out/qc.html").is_file()
    assert printed.split() == [str(tmp_path / "out" / n) for n in ("images.parquet", "qc.html")]
