"""OME-Zarr fields and plates, Zarr arrays of others; no order of channels that nobody stated."""

import json
import logging
import shutil

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.data.prepare import prepare
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.rows import read_field
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_header, read_merged, write_merged
from cpssl_lite.profiles.extract import extract
from tests.cases.tables import saved
from tests.profiles.toy import Moments

zarr = pytest.importorskip("zarr", minversion="3")
ORDER = ("DNA", "ER", "RNA", "AGP", "Mito")
SIZE = (70, 100)


def pixels_of(seed=0, shape=(5, *SIZE)):
    return np.random.default_rng(seed).integers(1, 4000, shape, dtype=np.uint16)


def attributes(group, ome, version):
    group.attrs.update({"ome": {"version": "0.5", **ome}} if version == 3 else ome)


def image(path, pixels, names=ORDER, version=3, axes="cyx", levels=2):
    """An OME-Zarr image of version 0.4 (Zarr 2) or 0.5 (Zarr 3)."""
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    for level in range(levels):
        small = pixels[..., :: 2**level, :: 2**level]
        array = group.create_array(
            str(level), shape=small.shape, dtype=small.dtype, chunks=small.shape
        )
        array[:] = small
    datasets = [{"path": str(level)} for level in range(levels)]
    ome = {"multiscales": [{"axes": [{"name": a} for a in axes], "datasets": datasets}]}
    if names:
        ome["omero"] = {"channels": [{"label": name} for name in names]}
    attributes(group, ome, version)
    return path


def plate(path, version=3, wells=("A/1", "B/12"), sites=2, names=ORDER):
    """An OME-Zarr plate; returns the pixels of its fields in order."""
    zarr.open_group(str(path), mode="w", zarr_format=version)
    made = []
    for well in wells:
        for site in range(sites):
            made.append(pixels_of(len(made)))
            image(path / well / str(site), made[-1], names, version, levels=1)
        group = zarr.open_group(str(path / well), mode="a", zarr_format=version)
        attributes(group, {"well": {"images": [{"path": str(i)} for i in range(sites)]}}, version)
    group = zarr.open_group(str(path), mode="a", zarr_format=version)
    attributes(group, {"plate": {"wells": [{"path": well} for well in wells]}}, version)
    return made


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("axes", ["cyx", "tczyx", "zcyx"])
def test_a_field_by_the_names_of_its_channels(tmp_path, version, axes):
    pixels = pixels_of()
    stored = {"cyx": pixels, "zcyx": pixels[None], "tczyx": pixels[None, :, None]}[axes]
    path = image(tmp_path / "a.ome.zarr", stored, version=version, axes=axes)
    got = read_merged(path, raw=True)
    np.testing.assert_array_equal(got.pixels, pixels[::-1])
    shape, notes = read_header(path)
    assert shape == (5, *SIZE) and notes["channels"] == list(ORDER)
    with pytest.raises(InputError, match=r"ome\.zarr: intensities as a microscope gives them"):
        read_merged(path)


@pytest.mark.parametrize("names", [None, ["0", "1", "2", "3", "4"], ["Channel 0"] * 5, [""] * 5])
@pytest.mark.parametrize("kind", ["image", "array"])
def test_no_order_is_assumed(tmp_path, cpssl, names, kind):
    path = tmp_path / "s1.zarr"
    if kind == "image":
        image(path, pixels_of(), names)
    else:
        array = zarr.create_array(str(path), shape=(5, *SIZE), dtype="uint16", chunks=(1, *SIZE))
        array[:] = pixels_of()
        array.attrs["channels"] = names
    row = {"Metadata_Plate": "P", "Metadata_Well": "A1", "FileName_Merged": "s1.zarr"}
    table = saved(pd.DataFrame([row]), tmp_path / "images.csv")
    words = ("data", "prepare", table, "-o", tmp_path / "out", "--workers", 1)
    code, _, err = cpssl(*words)
    assert code == 2 and "s1.zarr: does not say which channel is which" in err
    assert "--channels Mito,AGP,RNA,ER,DNA" in err
    assert cpssl(*words, "--channels", ",".join(ORDER))[0] == 0
    made = read_merged(next((tmp_path / "out/images").rglob("*.tif"))).pixels
    raw = read_field({"FileName_Merged": str(path), "Channels": ",".join(ORDER)}, CHANNELS).pixels
    np.testing.assert_array_equal(made, raw)
    assert [plane.argmax() for plane in made] == [plane.argmax() for plane in raw]
    order = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1]
        for a, b in zip(made, pixels_of()[::-1], strict=True)
    ]
    assert min(order) > 0.99


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("DNA,ER,RNA,AGP", "Mito must be in it once"),
        ("DNA,DNA,ER,RNA,AGP,Mito", "DNA must be in it once"),
        ("Mito,AGP,RNA,ER,DNA", "its channels are DNA, ER, RNA, AGP, Mito, not Mito, AGP"),
        ("DNA,ER,RNA,AGP,Mito,Brightfield", "its channels are DNA, ER, RNA, AGP, Mito, not DNA"),
    ],
)
def test_channels_that_are_not_the_files(tmp_path, cpssl, given, message):
    image(tmp_path / "a.zarr", pixels_of())
    row = {"Metadata_Plate": "P", "Metadata_Well": "A1", "FileName_Merged": "a.zarr"}
    table = saved(pd.DataFrame([row]), tmp_path / "images.csv")
    words = ("data", "prepare", table, "-o", tmp_path / "o", "--channels", given, "--workers", 1)
    code, _, err = cpssl(*words)
    assert code == 2 and message in err


@pytest.mark.parametrize("version", [2, 3])
def test_a_plate_is_an_image_table(tmp_path, version):
    made = plate(tmp_path / "P7.ome.zarr", version)
    images = read_image_table(tmp_path / "P7.ome.zarr")
    key = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    assert images[key].agg("/".join, axis=1).tolist() == [
        "P7/A01/0", "P7/A01/1", "P7/B12/0", "P7/B12/1"
    ]  # fmt: skip
    for file, pixels in zip(images["FileName_Merged"], made, strict=True):
        np.testing.assert_array_equal(read_merged(file, raw=True).pixels, pixels[::-1])
    table = prepare(tmp_path / "P7.ome.zarr", tmp_path / "out", workers=1)
    at_once = pd.read_parquet(extract(images, Moments(), tmp_path / "a.parquet"))
    prepared = extract(read_image_table(table), Moments(), tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(at_once, pd.read_parquet(prepared))


def test_a_field_that_changed_is_read_again(tmp_path):
    plate(tmp_path / "P.zarr")
    table = prepare(tmp_path / "P.zarr", tmp_path / "out", workers=1)
    before = [read_merged(f).pixels for f in read_image_table(table)["FileName_Merged"]]
    image(tmp_path / "P.zarr/B/12/1", pixels_of(77), levels=1)
    prepare(tmp_path / "P.zarr", tmp_path / "out", workers=1)
    after = [read_merged(f).pixels for f in read_image_table(table)["FileName_Merged"]]
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [True] * 3 + [
        False
    ]


DAMAGE = {
    "planes": (lambda p: image(p, pixels_of(0, (5, 3, 8, 9)), axes="czyx"), "several of z: 3"),
    "order": (lambda p: image(p, pixels_of(0, (8, 9, 5)), axes="yxc"), "its axes are y, x, c"),
    "levels": (lambda p: _edit(p, "multiscales", []), "damaged, its OME metadata"),
    "no image": (lambda p: _edit(p, "multiscales", None), "no array and no OME-Zarr image"),
    "chunk": (lambda p: shutil.rmtree(image(p, pixels_of()) / "0/c"), "pixel blocks are missing"),
    "array": (lambda p: shutil.rmtree(image(p, pixels_of()) / "0"), "damaged, '0' is missing"),
    "json": (lambda p: (image(p, pixels_of()) / "zarr.json").write_text("{"), "not a readable"),
    "plate": (lambda p: plate(p), "is a whole plate; give it in the place of an image table"),
    "empty": (lambda p: p.mkdir(), "not a readable Zarr store"),
}


def _edit(path, key, value):
    file = image(path, pixels_of()) / "zarr.json"
    text = json.loads(file.read_text())
    text["attributes"]["ome"] |= {key: value}
    if value is None:
        del text["attributes"]["ome"][key]
    file.write_text(json.dumps(text))


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_one_line(tmp_path, what):
    make, message = DAMAGE[what]
    make(tmp_path / "x.zarr")
    with pytest.raises(InputError, match=message) as caught:
        read_merged(tmp_path / "x.zarr", raw=True)
    assert "x.zarr" in str(caught.value) and "\n" not in str(caught.value)


def test_a_single_image_is_no_table(tmp_path):
    image(tmp_path / "a.zarr", pixels_of())
    with pytest.raises(InputError, match=r"a\.zarr: is no OME-Zarr plate, and no store of sites"):
        read_image_table(tmp_path / "a.zarr")


@pytest.mark.parametrize("given", [None, ",".join(ORDER)])
def test_tiffs_without_names_say_what_is_assumed(tmp_path, caplog, given):
    import tifffile

    pixels = pixels_of()
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    row = {"Metadata_Plate": "P", "Metadata_Well": "A1", "FileName_Merged": "a.tif"}
    table = saved(pd.DataFrame([row]), tmp_path / "images.csv")
    with caplog.at_level(logging.WARNING):
        names = given and given.split(",")
        made = prepare(table, tmp_path / "out", workers=1, channels=names)
    line = f"{tmp_path / 'a.tif'}: does not name its channels (1 such file); read as Mito, AGP"
    assert (line in caplog.text) == (given is None)
    got = read_merged(read_image_table(made)["FileName_Merged"][0]).pixels
    expected = pixels if given is None else pixels[::-1]
    assert [p.argmax() for p in got] == [np.clip(p, 0, np.percentile(p, 99.9)).argmax()
                                         for p in expected]  # fmt: skip
    write_merged(tmp_path / "a.tif", pixels, 0.1)
    caplog.clear()
    prepare(table, tmp_path / "out", workers=1)
    assert "does not name" not in caplog.text


SITES = ("source_2__b__x1__P.1__A01__1", "source_2__b__x1__P.1__B12__2", "source_13__c__P2__A01__1")
JUMP_LITE = ("AGP", "DNA", "ER", "Mito", "RNA")


def sites(folder, how):
    """A store as JUMP-Lite's: an array a site, five channels in a chunk, nothing about them."""
    codecs = pytest.importorskip("imagecodecs.numcodecs")
    codecs.register_codecs(["imagecodecs_jpegxl"], verbose=False)
    blosc = zarr.codecs.BloscCodec(cname="zstd", clevel=9, shuffle="bitshuffle")
    jpeg = codecs.Jpegxl(lossless=True)
    for seed, name in enumerate(SITES):
        array = zarr.create_array(
            str(folder / name), shape=(5, *SIZE), chunks=(5, *SIZE), dtype="uint16",
            zarr_format=2 if how == "jpegxl" else 3,
            compressors=jpeg if how == "jpegxl" else blosc,
        )  # fmt: skip
        array[:] = pixels_of(seed)
    if how == "zstd":
        zarr.open_group(str(folder), mode="a")


@pytest.mark.parametrize("how", ["zstd", "loose", "jpegxl"])
@pytest.mark.parametrize("name", ["zstd.zarr", "some_sites"])
def test_a_store_of_sites(tmp_path, cpssl, how, name):
    sites(tmp_path / name, how)
    words = ("data", "prepare", tmp_path / name, "-o", tmp_path / "out", "--workers", 1)
    code, _, err = cpssl(*words)
    assert code == 2 and "does not say which channel is which" in err
    assert err.endswith("(JUMP-Lite says of its sites: AGP,DNA,ER,Mito,RNA)\n")
    code, _, err = cpssl(*words, "--channels", ",".join(JUMP_LITE))
    assert code == 0, err
    images = read_image_table(tmp_path / "out/images.parquet")
    key = ["Metadata_Source", "Metadata_Batch", "Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    assert images[key].to_numpy().tolist() == [
        ["source_13", "c", "P2", "A01", "1"], ["source_2", "b", "x1__P.1", "A01", "1"],
        ["source_2", "b", "x1__P.1", "B12", "2"],
    ]  # fmt: skip
    for file, seed in zip(images["FileName_Merged"], (2, 0, 1), strict=True):
        made, raw = read_merged(file).pixels, pixels_of(seed)
        for stain, plane in zip(CHANNELS, made, strict=True):
            other = raw[JUMP_LITE.index(stain)]
            assert np.corrcoef(plane.ravel(), other.ravel())[0, 1] > 0.99


def test_one_site_by_its_path(tmp_path):
    sites(tmp_path, "loose")
    row = {"Metadata_Plate": "P", "Metadata_Well": "A1", "FileName_Merged": SITES[0]}
    table = saved(pd.DataFrame([row]), tmp_path / "images.csv")
    record = read_image_table(table, channels=list(JUMP_LITE)).iloc[0]
    field = read_field(dict(record), CHANNELS)
    assert field.pixels.shape == (5, *SIZE)
    with pytest.raises(InputError, match="JUMP-Lite says of its sites"):
        read_field({"FileName_Merged": record["FileName_Merged"]}, CHANNELS)
