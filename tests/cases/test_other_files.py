"""Something else in the place of an image, a checkpoint or a store: called what it is."""

import io
import os

import numpy as np
import pytest
import tifffile
import torch
import zarr
from PIL import Image
from safetensors.torch import save_file

from cpssl_lite.base.errors import InputError
from cpssl_lite.data.prepare import prepare
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.tiff import read_header, read_merged, read_plane
from cpssl_lite.images.zarrs import read_plate, write_zarr
from cpssl_lite.models.checkpoints import load_encoder
from cpssl_lite.models.vit import Shape, build_vit
from tests.cases.tables import load_data, saved

PIXELS = np.random.default_rng(0).integers(0, 250, (20, 30), dtype=np.uint8)


def picture(form):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, format=form)
    return file.getvalue()


OTHERS = {
    "a PNG picture": picture("PNG"),
    "a JPEG picture": picture("JPEG"),
    "a page of HTML or XML": b"\n<!DOCTYPE html><html>Please log in</html>",
    "a zip archive or an Excel workbook": b"PK\x03\x04" + bytes(40),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(40),
    "a PDF": b"%PDF-1.7 " + bytes(40),
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("read", [read_plane, read_merged, read_header])
def test_what_is_no_tiff_is_called_what_it_is(tmp_path, kind, read):
    path = tmp_path / "A01_DNA.tif"
    path.write_bytes(OTHERS[kind])
    with pytest.raises(InputError, match=rf"A01_DNA\.tif: is {kind}, not a TIFF"):
        read(path)


@pytest.mark.parametrize("kind", [kind for kind in OTHERS if not kind.startswith("a zip")])
@pytest.mark.parametrize("name", ["x.pth", "x.ckpt", "x.safetensors"])
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path, kind, name):
    path = tmp_path / name
    path.write_bytes(OTHERS[kind])
    with pytest.raises(InputError, match=rf"refused, {kind}; a checkpoint is safetensors, or what"):
        load_encoder(path)


@pytest.mark.parametrize("name", ["A01_DNA.tif", "A01.npy"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "is a folder, not a file"),
        (lambda path: path.symlink_to(path), "is a link to .*, which is not there"),
        (lambda path: path.symlink_to("gone.tif"), r"is a link to gone\.tif, which is not there"),
        (os.mkfifo, "is no file but a device or a pipe"),
        (lambda path: None, "no such file"),
    ],
)
def test_where_no_image_is(tmp_path, name, make, message):
    make(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: {message}"):
        read_merged(tmp_path / name)


@pytest.mark.parametrize("inside", ["", "model.safetensors", "pytorch_model.bin", "last.ckpt"])
def test_a_folder_in_the_place_of_a_checkpoint(tmp_path, inside):
    """As Hugging Face keeps them; what lies in it is named."""
    if inside:
        (tmp_path / inside).write_bytes(b"")
    with pytest.raises(InputError, match="is a folder; name the checkpoint in it") as error:
        load_encoder(tmp_path)
    assert str(error.value).endswith(f", such as {tmp_path / inside}" if inside else "in it")


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"model": None}])
def test_a_checkpoint_with_nothing_in_it(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    names = "state_dict|model" if content else "nothing"
    with pytest.raises(InputError, match=rf"no ViT in it \(it holds ({names})\)"):
        load_encoder(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("kind", "named"),
    [(torch.int8, "int8"), (torch.int32, "int32"), (torch.complex64, "complex64")],
)
def test_weights_that_are_no_real_numbers_are_said_to_be(tmp_path, kind, named):
    """They were "not finite"."""
    small = build_vit(Shape(width=48, depth=2, heads=3, image_size=64))
    state = {name: value.to(kind) for name, value in small.state_dict().items()}
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=rf"no floating-point numbers .*weight \({named}\)"):
        load_encoder(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("values", "got"),
    [
        ([0.0, 4000.0], "0 to 4000"),
        ([-0.5, 0.5], "-0.5 to 0.5"),
        ([0.0, np.nan], "0 to 0, 300 of them not finite"),
        ([np.inf, 1.0], "1 to 1, 300 of them not finite"),
        ([np.nan, np.nan], "none that is finite, 600 of them not finite"),
    ],
)
@pytest.mark.parametrize("kind", ["float32", "float64", "float16"])
def test_floats_out_of_range_say_their_range(tmp_path, values, got, kind):
    tifffile.imwrite(tmp_path / "a.tif", np.tile(values, (20, 15)).astype(kind))
    with pytest.raises(InputError, match=rf"a\.tif: float .* within 0\.\.1, got {got}$"):
        read_plane(tmp_path / "a.tif")


def ramp(up):
    """A palette: one colour of another brightness for each level."""
    levels = np.arange(256) if up else np.random.default_rng(1).permutation(256)
    return (np.outer([0, 1, 0], levels) * 257).astype(np.uint16)


@pytest.mark.parametrize("up", [True, False])
def test_numbers_of_colours_are_no_intensities(tmp_path, up):
    """ImageJ colours grey levels by a palette; other pictures number their colours in any order."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="palette", colormap=ramp(up))
    if up:
        np.testing.assert_array_equal(read_plane(path), PIXELS)
    else:
        with pytest.raises(InputError, match=r"a\.tif: its numbers are those of colours"):
            read_plane(path)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (np.full((40, 50), "a"), "holds numbers, not <U1"),
        (np.ones((40, 50), complex), "holds numbers, not complex128"),
        (np.ones((40, 50), bool), "holds numbers, not bool"),
        (np.linspace(-1, 2, 2000).reshape(40, 50), "positive everywhere, got -1$"),
        (np.where(np.eye(40, 50), np.nan, 3), "40 pixels that are no number"),
        (np.ones((50, 40)), r"shape \(50, 40\), the fields of its plate are \(40, 50\)"),
    ],
)
def test_illumination_functions_that_are_none(tmp_path, function, message):
    table = saved(load_data(tmp_path, wells=["A01"]), tmp_path / "load_data.csv")
    (tmp_path / "illum/P1").mkdir(parents=True)
    for name in CHANNELS:
        good = name != "ER"
        np.save(tmp_path / f"illum/P1/P1_Illum{name}.npy", np.ones((40, 50)) if good else function)
    with pytest.raises(InputError, match=rf"P1_IllumER\.npy: .*{message}"):
        prepare(table, tmp_path / "out", workers=1, illum=tmp_path / "illum")


def plate(path, attributes, well=None):
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    group.attrs.update(attributes)
    if well is not None:
        group.require_group("A/1").attrs.update(well)
    return path


ONE = {"plate": {"wells": [{"path": "A/1"}]}}


@pytest.mark.parametrize(
    ("attributes", "well", "message"),
    [
        ({"plate": {"wells": []}}, None, "an OME-Zarr plate without any well or field"),
        (ONE, {"well": {"images": []}}, "an OME-Zarr plate without any well or field"),
        (ONE, None, "damaged, 'A/1' is missing in it"),
        (ONE, {}, "damaged, 'well' is missing in it"),
        ({"plate": {"wells": "no"}}, None, "damaged, its OME metadata are not in the form"),
        ({"plate": {"wells": [{}]}}, None, "damaged, 'path' is missing in it"),
        ({"plate": []}, None, "damaged, its OME metadata are not in the form"),
    ],
)
def test_plates_whose_metadata_are_damaged(tmp_path, attributes, well, message):
    with pytest.raises(InputError, match=rf"p\.zarr: {message}"):
        read_plate(plate(tmp_path / "p.zarr", attributes, well))


@pytest.mark.parametrize("axes", ["cy", "tczyx", "y"])
def test_axes_that_the_array_does_not_have(tmp_path, axes):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    group.create_array("0", shape=(5, 8, 9), dtype="uint16")[:] = 1
    levels = {"axes": [{"name": name} for name in axes], "datasets": [{"path": "0"}]}
    group.attrs["multiscales"] = [levels]
    with pytest.raises(InputError, match=rf"names {len(axes)} axes .* of an array of 3"):
        read_merged(tmp_path / "a.zarr")


def test_one_image_in_the_place_of_a_plate(tmp_path):
    write_zarr(tmp_path / "a.zarr", np.ones((5, 8, 9), np.uint16), 0.5)
    with pytest.raises(InputError, match=r"a\.zarr: is no OME-Zarr plate"):
        read_plate(tmp_path / "a.zarr")
