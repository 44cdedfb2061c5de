"""Extraction against a plain loop, and what happens when something is wrong."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.rows import read_field
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import write_merged
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.precision import native_precisions
from cpssl_lite.models.vit import build_vit
from cpssl_lite.profiles.extract import extract, extract_many
from cpssl_lite.profiles.table import (
    feature_columns,
    profile_matrix,
    read_profiles,
    read_provenance,
)
from tests.profiles.toy import SIZE, Moments, write_screen


def plain_loop(images, network=None):
    """One field at a time, every crop through the network, empty ones left out afterwards."""
    network, fields = network or Moments(), {}
    for _, row in images.iterrows():
        pixels = tifffile.imread(row["FileName_Merged"]).astype(np.float32) / 65535
        corners = grid(*pixels.shape[1:], SIZE)
        features = network(torch.from_numpy(cut(pixels, corners, SIZE))).numpy()
        kept = select(foreground_share(pixels[4], 0.5, corners, SIZE))
        fields.setdefault((row["Metadata_Plate"], row["Metadata_Well"]), []).append(features[kept])
    return fields


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_equals_the_plain_loop(screen, tmp_path, batch_size):
    images = read_image_table(screen)
    expected = plain_loop(images)
    assert len({len(f) for wells in expected.values() for f in wells}) > 1, "fields must differ"

    pooled = read_profiles(
        extract(images, Moments(), tmp_path / "pooled.parquet", batch_size=batch_size)
    )
    of_fields = read_profiles(
        extract(images, Moments(), tmp_path / "fields.parquet", convention="paper")
    )
    for table, average in [
        (pooled, lambda wells: np.concatenate(wells).mean(axis=0)),
        (of_fields, lambda wells: np.mean([field.mean(axis=0) for field in wells], axis=0)),
    ]:
        assert len(table) == 6
        for _, row in table.iterrows():
            wells = expected[row["Metadata_Plate"], row["Metadata_Well"]]
            np.testing.assert_allclose(
                row[feature_columns(table)].to_numpy(float), average(wells), rtol=1e-5
            )
            assert row["Metadata_Crops"] == str(sum(map(len, wells)))
            assert row["Metadata_Fields"] == "2"


@pytest.mark.parametrize("pooling", ["cls", "patch_mean"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_real_network_equals_the_plain_loop(screen, tmp_path, pooling, per_channel):
    torch.manual_seed(0)
    vit = build_vit("vit_mini_patch16", image_size=SIZE, in_channels=1 if per_channel else 5)
    one = {"mean": None, "sd": None, "per_channel": True} if per_channel else {}
    encoder = Encoder(vit, {"method": "random"}, crop_size=SIZE, pooling=pooling, **one).eval()
    images = read_image_table(screen)
    with torch.inference_mode():
        wells = [np.concatenate(w).mean(0) for w in plain_loop(images, encoder).values()]
    for precision in native_precisions():
        out = extract(images, encoder, tmp_path / f"{precision}.parquet", precision=precision)
        profiles = profile_matrix(read_profiles(out))[1]
        if precision == "fp32":
            np.testing.assert_allclose(profiles, wells, atol=1e-5)
        cosine = torch.cosine_similarity(torch.tensor(profiles), torch.tensor(np.stack(wells)))
        assert cosine.min() > 0.999


def test_says_how_fast_and_how_long(screen, tmp_path, caplog):
    with caplog.at_level("INFO"):
        extract(read_image_table(screen), Moments(), tmp_path / "out.parquet")
    said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("plate")]
    assert len(said) == 2
    assert re.fullmatch(r"plate s1_b1_P1 \(1 of 2\): 6 .*, \d+ crops/s, [\d.]+ s left", said[0])
    assert said[1].endswith(" 0 s left")


def test_crops_without_cells_never_reach_the_network(screen, tmp_path):
    images = read_image_table(screen)
    network = Moments()
    extract(images, network, tmp_path / "out.parquet")
    kept = sum(len(field) for wells in plain_loop(images).values() for field in wells)
    assert network.calls == kept < len(images) * 6


def test_a_folder_that_moved_is_not_computed_again(tmp_path):
    (tmp_path / "here").mkdir()
    out = tmp_path / "out.parquet"
    table = write_screen(tmp_path / "here")
    extract(read_image_table(table), Moments(), out)
    (tmp_path / "here").rename(tmp_path / "there")
    moved, again = read_image_table(tmp_path / "there" / table.name), Moments()
    extract(moved, again, out)
    assert again.calls == 0
    files = moved["FileName_Merged"].tolist()
    files[0], files[1] = files[1], files[0]
    extract(moved.assign(FileName_Merged=files), again, out)
    assert again.calls > 0, "other files in the same places are other images"


def test_resumes_with_the_first_missing_plate(screen, tmp_path, monkeypatch):
    images = read_image_table(screen)
    out = tmp_path / "out" / "out.parquet"
    broken = images.copy()
    last = broken.index[broken["Metadata_Plate"] == "P2"][-1]
    whole_file = tmp_path / images.loc[last, "FileName_Merged"]
    content = whole_file.read_bytes()
    whole_file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=whole_file.name):
        extract(images, Moments(), out)
    assert not out.exists()
    assert len(list(out.parent.rglob("*.parquet"))) == 1, "the finished plate waits"

    whole_file.write_bytes(content)
    network = Moments()
    extract(images, network, out)
    reference = extract(images, Moments(), tmp_path / "reference.parquet")
    pd.testing.assert_frame_equal(read_profiles(out), read_profiles(reference))
    only_p2 = images[images["Metadata_Plate"] == "P2"]
    kept = sum(len(field) for wells in plain_loop(only_p2).values() for field in wells)
    assert network.calls == kept, "the first plate was not computed again"
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.parquet"]

    again = Moments()
    extract(images, again, out)
    assert again.calls == 0, "a finished table is not computed again"
    monkeypatch.setattr("cpssl_lite.profiles.extract._code", lambda: "a later version")
    later = Moments()
    extract(images, later, out)
    assert later.calls > 0, "features of older code are not kept"
    other = Moments("another checkpoint")
    extract(images, other, out)
    assert other.calls > 0, "another network's features are not taken for this one's"
    assert read_provenance(out)["checkpoint"]["method"] == "another checkpoint"


@pytest.mark.parametrize("left", [0, 100, -50])
def test_a_damaged_plate_is_made_again(screen, tmp_path, monkeypatch, caplog, left):
    images, out = read_image_table(screen), tmp_path / "out.parquet"
    monkeypatch.setattr("cpssl_lite.profiles.extract.shutil.rmtree", lambda folder: None)
    extract(images, Moments(), out)
    parts = sorted(tmp_path.glob("out.parquet.plates/*.parquet"))
    parts[0].write_bytes(parts[0].read_bytes()[:left])
    whole = read_profiles(out)
    out.unlink()
    network = Moments()
    extract(images, network, out)
    pd.testing.assert_frame_equal(read_profiles(out), whole)
    only_p1 = images[images["Metadata_Plate"] == "P1"]
    kept = sum(len(field) for wells in plain_loop(only_p1).values() for field in wells)
    assert network.calls == kept, "the other plate was not computed again"
    assert f"{parts[0]}: damaged (" in caplog.text and "P1 is made again" in caplog.text


def test_many_networks_read_once_give_the_tables_of_one_each(screen, tmp_path, monkeypatch):
    images = read_image_table(screen)
    small, dna = Moments("small crops"), Moments("another channel order")
    small.crop_size = SIZE // 2
    dna.channels = CHANNELS[::-1]
    networks = {"a": Moments("a"), "b": small, "c": dna, "d": Moments("d")}
    reads = []

    def read(record, channels, low):
        reads.append(record["FileName_Merged"])
        return read_field(record, channels, low)

    alone = {
        n: extract(images, net, tmp_path / f"alone_{n}.parquet") for n, net in networks.items()
    }
    outs = {name: tmp_path / f"{name}.parquet" for name in networks}
    extract(images, networks["d"], outs["d"])
    calls = networks["d"].calls
    monkeypatch.setattr("cpssl_lite.profiles.embed.read_field", read)
    together = {outs[name]: network for name, network in networks.items()}
    assert extract_many(images, together) == list(outs.values())
    assert len(reads) == 2 * len(images), "once for each order of channels"
    assert networks["d"].calls == calls, "a table that is there is left out"
    for name in networks:
        pd.testing.assert_frame_equal(read_profiles(outs[name]), read_profiles(alone[name]))
        assert read_provenance(outs[name])["digest"] == read_provenance(alone[name])["digest"]
    assert len({read_provenance(out)["digest"] for out in outs.values()}) == len(outs)

    # Of a killed run: one network has its first plate, the others have nothing.
    outs["b"].unlink(), outs["c"].unlink()
    whole = images["Metadata_Plate"] == "P2"
    last = Path(images[whole]["FileName_Merged"].iloc[-1])
    content = last.read_bytes()
    last.write_bytes(content[:200])
    with pytest.raises(InputError, match=last.name):
        extract(images, networks["b"], outs["b"])
    last.write_bytes(content)
    before = small.calls, dna.calls
    extract_many(images, {outs["b"]: small, outs["c"]: dna})
    per_plate = [int(n) for n in read_profiles(outs["b"])["Metadata_Crops"]]
    assert small.calls - before[0] == sum(per_plate[3:]), "only the second plate"
    assert dna.calls > before[1]
    for name in "bc":
        pd.testing.assert_frame_equal(read_profiles(outs[name]), read_profiles(alone[name]))


def planes(folder, dna=(70, 100)):
    """A table of one field in five files."""
    row = {"plate": "1", "well": "A1"}
    for name in CHANNELS:
        row[f"FileName_{name}"] = f"{name}.tif"
        shape = dna if name == "DNA" else (70, 100)
        pixels = np.random.default_rng(len(row)).integers(0, 9999, shape, dtype=np.uint16)
        tifffile.imwrite(folder / f"{name}.tif", pixels)
    pd.DataFrame([row]).to_csv(folder / "planes.csv", index=False)
    return read_image_table(folder / "planes.csv")


def test_single_channels(tmp_path):
    out = tmp_path / "out.parquet"
    extract(planes(tmp_path), Moments(), out)
    planes(tmp_path, dna=(60, 100))
    with pytest.raises(InputError, match=r"DNA\.tif is \(60, 100\)"):  # the change is noticed
        extract(read_image_table(tmp_path / "planes.csv"), Moments(), out)


def test_the_tables_threshold_counts_where_the_file_has_none(tmp_path):
    pixels = np.zeros((5, 64, 64), np.uint16)
    pixels[4, :32, :32], pixels[4, 32:, 32:] = 30000, 60000
    np.save(tmp_path / "a.npy", pixels)
    table = tmp_path / "t.csv"
    for otsu, crops in (("0.5", "2"), ("0.9", "1")):  # 30000 / 65535 is 0.46
        table.write_text(f"plate,well,FileName_Merged,Otsu_th\n1,A1,a.npy,{otsu}\n")
        got = read_profiles(extract(read_image_table(table), Moments(), tmp_path / "o.parquet"))
        assert got["Metadata_Crops"].tolist() == [crops]


def test_bad_input_is_one_clear_line(screen, tmp_path):
    images = read_image_table(screen)
    out = tmp_path / "out.parquet"

    missing = images.assign(FileName_Merged=[*images["FileName_Merged"][:-1], "/nowhere/x.tif"])
    with pytest.raises(InputError, match=r"/nowhere/x.tif: no such image \(1 of 12"):
        extract(missing, Moments(), out)

    two = images.assign(Metadata_Perturbation=[str(i) for i in range(len(images))])
    with pytest.raises(InputError, match="2 different perturbations"):
        extract(two, Moments(), out)

    class NotANumber(Moments):
        def forward(self, crops):
            return super().forward(crops) * float("nan")

    with pytest.raises(InputError, match=r"NaN.*plate s1_b1_P1 well A01"):
        extract(images, NotANumber(), out)

    write_merged(images["FileName_Merged"].iloc[1], np.zeros((5, 80, 100), np.uint16), 0.5)
    with pytest.raises(InputError, match=r"80 x 100 px, but the first field .* 70 x 100"):
        extract(images, Moments(), out)

    write_merged(images["FileName_Merged"].iloc[1], np.zeros((5, 70, 100), np.uint16), 0.5)
    for file in images["FileName_Merged"][images["Metadata_Plate"] == "P2"]:
        write_merged(file, np.zeros((5, 80, 100), np.uint16), 0.5)
    got = read_profiles(extract(images, Moments(), tmp_path / "sizes.parquet"))
    assert set(got["Metadata_Plate"]) == {"P1", "P2"}  # each plate has its own size

    with pytest.raises(InputError, match=r"_1\.tif: \d+ x 100 px is smaller .* crops of 128 px"):
        wide = Moments()
        wide.crop_size = 128
        extract(images, wide, out)
    for device in ("nonsense", "cuda:77"):
        with pytest.raises(InputError, match=f"device '{device}' cannot be used here"):
            extract(images, Moments(), out, device=device)
    with pytest.raises(InputError, match="batch_size must be 1 or more, got 0"):
        extract(images, Moments(), out, batch_size=0)
    unused = Moments()
    with pytest.raises(InputError, match=r"out\.csv: profile tables are written as \.parquet"):
        extract(images, unused, tmp_path / "out.csv")
    assert unused.calls == 0, "found out before the work, not after it"

    blocked = tmp_path / "a_file"
    blocked.touch()
    with pytest.raises(InputError, match="cannot be written"):
        extract(images, Moments(), blocked / "out.parquet")
    with pytest.raises(InputError, match="convention 'theirs'"):
        extract(images, Moments(), out, convention="theirs")
    assert not out.exists()
