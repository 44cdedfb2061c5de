"""TIFFs as microscopes and programs write them, by class."""

import numpy as np
import pytest
import tifffile

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.tiff import read_header, read_merged, read_plane
from tests.cases.tables import POINTERS

SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
OME = f'<OME xmlns="{SCHEMA}" UUID="urn:uuid:{{own}}">{{body}}</OME>'


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(1, 4000, shape, dtype=np.uint16)


def sibling_set(folder, n, x=30, y=20):
    """OME-TIFFs of one channel each, all of which name all files, as microscopes write them."""
    ids = [f"0000000{i}-0000-0000-0000-000000000000" for i in range(n)]
    data = "".join(
        f'<TiffData FirstC="{i}" FirstT="0" FirstZ="0" IFD="0" PlaneCount="1">'
        f'<UUID FileName="w{i}.ome.tif">urn:uuid:{one}</UUID></TiffData>'
        for i, one in enumerate(ids)
    )
    channels = "".join(f'<Channel ID="Channel:0:{i}" SamplesPerPixel="1"/>' for i in range(n))
    pixels = (
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16"'
        f' SizeX="{x}" SizeY="{y}" SizeC="{n}" SizeZ="1" SizeT="1">'
        f"{channels}{data}</Pixels></Image>"
    )
    planes = []
    for i, one in enumerate(ids):
        planes.append(noise((y, x), i))
        tifffile.imwrite(
            folder / f"w{i}.ome.tif", planes[-1], description=OME.format(own=one, body=pixels),
            metadata=None,
        )  # fmt: skip
    return planes


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("whole", [True, False])
def test_an_ome_tiff_that_names_its_siblings_is_one_plane(tmp_path, n, whole):
    planes = sibling_set(tmp_path, n)
    if not whole:  # the others were not copied
        (tmp_path / "w0.ome.tif").unlink()
    for i in range(0 if whole else 1, n):
        np.testing.assert_array_equal(read_plane(tmp_path / f"w{i}.ome.tif"), planes[i])
        assert read_header(tmp_path / f"w{i}.ome.tif")[0] == planes[i].shape


@pytest.mark.parametrize("master", ["screen.companion.ome", "no/where.ome", "ä b.ome"])
def test_an_ome_tiff_that_names_only_a_master_file(tmp_path, master):
    body = f'<BinaryOnly MetadataFile="{master}" UUID="urn:uuid:1"/>'
    text = OME.format(own="2", body=body).encode("utf-8")
    plane = noise((20, 30))
    tifffile.imwrite(tmp_path / "a.ome.tif", plane, description=text, metadata=None)
    np.testing.assert_array_equal(read_plane(tmp_path / "a.ome.tif"), plane)


@pytest.mark.parametrize(
    "label", ["Slice {}", "Channel:0:{}", "c:{}/5", "ch{}", "{}", "Frame_00{}", "Image #{}"]
)
def test_labels_that_only_count_are_no_names(tmp_path, label):
    stack = noise((5, 20, 30))
    labels = [label.format(i + 1) for i in range(5)]
    tifffile.imwrite(
        tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "CYX", "Labels": labels}
    )
    np.testing.assert_array_equal(read_merged(tmp_path / "a.tif").pixels, stack)


@pytest.mark.parametrize(
    "label", ["A01_s1_{}.tif", "c:1/5 - plate_{}.tiff", "r01c01-{}", "Orig{}", "{} (A01)"]
)
def test_labels_that_are_file_names_name_their_channel(tmp_path, label):
    order = ("DNA", "ER", "Mito", "RNA", "AGP")
    stack = noise((5, 20, 30))
    labels = [label.format(name) for name in order]
    tifffile.imwrite(
        tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "CYX", "Labels": labels}
    )
    expected = stack[[order.index(name) for name in CHANNELS]]
    np.testing.assert_array_equal(read_merged(tmp_path / "a.tif").pixels, expected)


@pytest.mark.parametrize("names", ["DAPI Cy3 Cy5 FITC TxRed", "DNA ER RNA Golgi Mito", "a b c d e"])
def test_other_names_are_refused_not_ignored(tmp_path, names):
    tifffile.imwrite(
        tmp_path / "a.ome.tif", noise((5, 20, 30)),
        metadata={"axes": "CYX", "Channel": {"Name": names.split()}},
    )  # fmt: skip
    with pytest.raises(InputError, match=f"available: {', '.join(names.split())}"):
        read_merged(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(20, 30), (33, 21)])
def test_inverted_grey_scale_is_turned_round(tmp_path, dtype, shape):
    plane = noise(shape) % 250
    plane = plane.astype(dtype) if dtype != "float32" else (plane / 250).astype(dtype)
    white = 1 if dtype == "float32" else np.iinfo(dtype).max
    for name, stored in (("black", plane), ("white", white - plane)):
        tifffile.imwrite(tmp_path / f"{name}.tif", stored.astype(dtype), photometric=f"minis{name}")
    black, white = (read_plane(tmp_path / f"{name}.tif") for name in ("black", "white"))
    np.testing.assert_allclose(black.astype(int), white, atol=1 if dtype == "float32" else 0)


@pytest.mark.parametrize("flag", [0, 1])
@pytest.mark.parametrize("small", [(5, 8), (10, 15), (8, 8, 3)])
def test_a_thumbnail_as_first_page_is_passed_over(tmp_path, flag, small):
    plane = noise((40, 60))
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        thumbnail = np.full(small, 7, np.uint8 if len(small) == 3 else np.uint16)
        kind = "rgb" if len(small) == 3 else "minisblack"
        tiff.write(thumbnail, subfiletype=flag, metadata=None, photometric=kind)
        tiff.write(plane, metadata=None)
    np.testing.assert_array_equal(read_plane(tmp_path / "a.tif"), plane)
    assert read_header(tmp_path / "a.tif")[0] == (40, 60)


@pytest.mark.parametrize("value", ["5", "-5", "1.0001", "nan"])
def test_a_threshold_outside_the_range_is_refused(tmp_path, value):
    tifffile.imwrite(tmp_path / "a.tif", noise((5, 20, 30)), metadata={"otsuth": value})
    with pytest.raises(InputError, match=r"otsuth must be a number within 0\.\.1, got "):
        read_merged(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["A01_DNA.tif", "A01.tiff", "merged.ome.tif", "merged.npy"])
@pytest.mark.parametrize("pointer", POINTERS)
def test_a_pointer_in_the_place_of_an_image(tmp_path, name, pointer):
    path = tmp_path / name
    path.write_text(POINTERS[pointer])
    for read in (read_plane, read_merged, read_header)[name.endswith("npy") :]:
        with pytest.raises(InputError, match=f"{name}: a {pointer} pointer; get the file itself"):
            read(path)


@pytest.mark.parametrize("axes", ["ZYX", "TYX", "ZCYX"])
@pytest.mark.parametrize("read", [read_merged, read_plane, read_header])
def test_planes_of_z_or_time_are_no_channels(tmp_path, axes, read):
    stack = noise((5, 5, 20, 30)[4 - len(axes) :])
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata={"axes": axes})
    message = rf"its planes are several of {axes[0].lower()};"
    with pytest.raises(InputError, match=rf"a\.ome\.tif: {message}"):
        read(tmp_path / "a.ome.tif")
    if axes == "TYX":
        tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": axes})
        with pytest.raises(InputError, match=message):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "names", ["DNA ER Mito RNA AGP", "OrigER OrigDNA OrigAGP OrigRNA OrigMito"]
)
@pytest.mark.parametrize("where", ["PageName", "ImageDescription"])
def test_pages_that_have_names_are_these_channels(tmp_path, names, where):
    stack, order = noise((5, 20, 30)), names.replace("Orig", "").split()
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for plane, name in zip(stack, names.split(), strict=True):
            tags = {"extratags": [(285, "s", 0, name, True)]}
            own = tags if where == "PageName" else {"description": name}
            tiff.write(plane, metadata=None, contiguous=False, **own)
    expected = stack[[order.index(name) for name in CHANNELS]]
    np.testing.assert_array_equal(read_merged(tmp_path / "a.tif").pixels, expected)
    assert read_header(tmp_path / "a.tif")[1]["channels"] == order


def images_of_one_file(path, planes, name):
    """An OME-TIFF with an image for each plane, as a loop over `TiffWriter.write` leaves it."""
    with tifffile.TiffWriter(path) as tiff:
        for number, plane in enumerate(planes):
            tiff.write(plane, metadata={"axes": "YX", **name(number)})


@pytest.mark.parametrize("where", ["Channel", "Image"])
@pytest.mark.parametrize("thumbnail", [False, True])
def test_images_of_one_file_are_the_channels_that_they_are_called(tmp_path, where, thumbnail):
    """They were taken in the canonical order, whatever their names."""
    stack, order = noise((5, 20, 30)), ("DNA", "ER", "Mito", "RNA", "AGP")
    names = [*["label"] * thumbnail, *order]
    planes = [*[noise((5, 6))] * thumbnail, *stack]
    images_of_one_file(
        tmp_path / "a.ome.tif", planes,
        lambda i: {"Channel": {"Name": names[i]}} if where == "Channel" else {"Name": names[i]},
    )  # fmt: skip
    expected = stack[[order.index(name) for name in CHANNELS]]
    np.testing.assert_array_equal(read_merged(tmp_path / "a.ome.tif").pixels, expected)
    assert read_header(tmp_path / "a.ome.tif")[1]["channels"] == list(order)


def test_images_of_one_file_that_are_fields_are_no_channels(tmp_path):
    images_of_one_file(tmp_path / "a.ome.tif", noise((5, 20, 30)), lambda i: {"Name": f"A01_s{i}"})
    with pytest.raises(InputError, match=r"channel Mito .* available: A01_s0, A01_s1"):
        read_merged(tmp_path / "a.ome.tif")


def test_images_of_one_file_without_names_are_in_the_canonical_order(tmp_path):
    stack = noise((5, 20, 30))
    images_of_one_file(tmp_path / "a.ome.tif", stack, lambda i: {})
    np.testing.assert_array_equal(read_merged(tmp_path / "a.ome.tif").pixels, stack)
    assert read_header(tmp_path / "a.ome.tif")[1]["channels"] is None  # which is said


def test_one_name_for_many_samples_is_no_channels_name(tmp_path):
    stack = noise((5, 20, 30))
    tifffile.imwrite(
        tmp_path / "a.ome.tif", stack, photometric="minisblack", planarconfig="separate",
        metadata={"axes": "SYX", "Channel": {"Name": "all"}},
    )  # fmt: skip
    np.testing.assert_array_equal(read_merged(tmp_path / "a.ome.tif").pixels, stack)
