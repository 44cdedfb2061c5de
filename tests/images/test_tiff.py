import json
import logging

import numpy as np
import pytest
import tifffile

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.tiff import read_header, read_merged, read_plane, write_merged


@pytest.fixture
def pixels():
    # Smooth enough to compress, so that every codec has something to do.
    rng = np.random.default_rng(0)
    return rng.normal(9000, 300, (5, 61, 83)).cumsum(axis=2).astype(np.uint16)


def one_line(error: pytest.ExceptionInfo[InputError], path) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_merged_field_comes_back_as_it_was(tmp_path, pixels):
    path = tmp_path / "plate" / "field.tif"
    write_merged(path, pixels, 0.123)
    field = read_merged(path)
    np.testing.assert_array_equal(field.pixels, pixels)
    assert field.pixels.dtype == np.uint16
    assert field.otsu == 0.123
    assert field.channels == CHANNELS
    assert [p.name for p in path.parent.iterdir()] == ["field.tif"]


def test_the_description_is_what_the_authors_loader_reads(tmp_path, pixels):
    write_merged(tmp_path / "a.tif", pixels, 0.25, notes={"recipe": "x"})
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        notes = json.loads(tiff.pages.first.description)
        assert tiff.asarray().shape == (5, 61, 83)
    assert notes["otsuth"] == "0.25"
    assert notes["channels"] == list(CHANNELS)
    assert read_header(tmp_path / "a.tif") == ((5, 61, 83), notes)


def test_channels_are_selected_by_name(tmp_path, pixels):
    stored = ("DNA", "ER", "RNA", "AGP", "Mito")
    write_merged(tmp_path / "a.tif", pixels, 0.5, stored)
    np.testing.assert_array_equal(read_merged(tmp_path / "a.tif").pixels, pixels[::-1])
    some = read_merged(tmp_path / "a.tif", ["RNA", "DNA"])
    assert some.channels == ("RNA", "DNA")
    np.testing.assert_array_equal(some.pixels, pixels[[2, 0]])


def test_the_authors_files_are_read(parity):
    path = parity / "inference/images/Batch1_PS01_A01_s1.tif"
    field = read_merged(path)
    assert field.pixels.shape == (5, 460, 460)
    assert field.otsu == 0.337890625
    np.testing.assert_array_equal(field.pixels, tifffile.imread(path))


@pytest.mark.parametrize("description", [None, "not json", "[1, 2]", '{"otsuth": ""}'])
def test_without_notes_the_order_is_canonical_and_the_threshold_unknown(
    tmp_path, pixels, description
):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", description=description, metadata=None)
    field = read_merged(path)
    assert field.otsu is None
    np.testing.assert_array_equal(field.pixels, pixels)


def test_npy_arrays(tmp_path, pixels):
    np.save(tmp_path / "a.npy", pixels)
    field = read_merged(tmp_path / "a.npy")
    assert field.otsu is None
    np.testing.assert_array_equal(field.pixels, pixels)
    np.save(tmp_path / "b.npy", pixels.astype(np.float32) / 65535)
    np.testing.assert_array_equal(read_merged(tmp_path / "b.npy").pixels, pixels)
    assert read_header(tmp_path / "a.npy") == ((5, 61, 83), {})


@pytest.mark.parametrize("archive", [False, True])
def test_a_npy_file_that_is_cut_off_or_an_archive(tmp_path, pixels, archive):
    path = tmp_path / "a.npy"
    if archive:
        with open(path, "wb") as file:
            np.savez(file, pixels)
    else:
        np.save(path, pixels)
        path.write_bytes(path.read_bytes()[:-100])
    for read in (read_merged, read_header):
        with pytest.raises(InputError, match=r"not a readable \.npy") as error:
            read(path)
        one_line(error, path)


def test_big_endian_files(tmp_path, pixels):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", byteorder=">")
    np.testing.assert_array_equal(read_merged(path).pixels, pixels)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_float_pixels_out_of_range(tmp_path, bad):
    array = np.zeros((5, 8, 8), np.float32)
    array[2, 3, 4] = bad
    np.save(tmp_path / "a.npy", array)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    for path in (tmp_path / "a.npy", tmp_path / "a.tif"):
        with pytest.raises(InputError, match="finite and within") as error:
            read_merged(path)
        one_line(error, path)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_other_number_types(tmp_path, dtype):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((5, 8, 8), dtype), photometric="minisblack")
    with pytest.raises(InputError, match=f"uint16.*got {np.dtype(dtype)}") as error:
        read_merged(path)
    one_line(error, path)


@pytest.mark.parametrize("channels", [3, 4, 6])
def test_wrong_number_of_channels(tmp_path, channels):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((channels, 40, 40), np.uint16), photometric="minisblack")
    with pytest.raises(InputError, match=rf"5 channels.*got {channels}") as error:
        read_merged(path)
    one_line(error, path)


def test_a_channel_that_the_file_does_not_have(tmp_path, pixels):
    path = tmp_path / "a.tif"
    write_merged(path, pixels[:4], 0.5, CHANNELS[:4])
    with pytest.raises(InputError, match=r"channel DNA.*available: Mito, AGP, RNA, ER") as error:
        read_merged(path)
    one_line(error, path)


@pytest.mark.parametrize("shape", [(40, 40), (2, 5, 40, 40)])
def test_not_three_dimensional(tmp_path, shape):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones(shape, np.uint16), photometric="minisblack")
    with pytest.raises(InputError, match=r"\(channels, H, W\)") as error:
        read_merged(path)
    one_line(error, path)


@pytest.mark.parametrize("otsuth", ["high", "nan", [1]])
def test_a_threshold_that_is_no_number(tmp_path, pixels, otsuth):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"otsuth": otsuth})
    with pytest.raises(InputError, match="otsuth must be a number") as error:
        read_merged(path)
    one_line(error, path)


@pytest.mark.parametrize("read", [read_plane, read_merged, read_header])
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_missing_empty_and_foreign_files(tmp_path, caplog, read, suffix):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(InputError, match="no such file") as error:
        read(path)
    one_line(error, path)
    for content in (b"", b"II*\0", b"hello, this is no image at all\n" * 50, bytes(5000)):
        path.write_bytes(content)
        with caplog.at_level(logging.DEBUG), pytest.raises(InputError) as error:
            read(path)
        one_line(error, path)
    with pytest.raises(InputError):
        read(tmp_path)
    assert not caplog.records


WRITERS = {
    "this project's": dict(compression="zstd", compressionargs={"level": 1}, predictor=True),
    "the authors'": dict(compression="zlib"),
    "lzw": dict(compression="lzw", rowsperstrip=61),
    "plain": dict(),
    "plain strips": dict(rowsperstrip=7),
    "tiles": dict(tile=(16, 16), compression="zlib"),
}


@pytest.mark.parametrize("metadata", [{"otsuth": "0.5"}, None], ids=["notes", "bare"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_cut_off_file_is_noticed_wherever_it_is_cut(tmp_path, pixels, writer, metadata, caplog):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata, **WRITERS[writer])
    whole = path.read_bytes()
    refused = 0
    lengths = np.linspace(0, len(whole) - 1, 80).astype(int)
    with caplog.at_level(logging.DEBUG):
        for length in lengths:
            path.write_bytes(whole[:length])
            try:
                field = read_merged(path)
            except InputError:
                refused += 1
            else:  # only bytes that mean nothing may be missing
                np.testing.assert_array_equal(field.pixels, pixels)
                assert length > 0.98 * len(whole)
    assert refused >= len(lengths) - 2
    assert not caplog.records


def test_a_cut_off_real_plane_is_noticed(real, tmp_path):
    source = next((real / "images/cpjump1").glob("*/*.tiff"))
    whole, pixels = source.read_bytes(), read_plane(source)
    assert pixels.shape == (1080, 1080)
    path = tmp_path / "a.tiff"
    for length in np.linspace(0, len(whole) - 1, 25).astype(int):
        path.write_bytes(whole[:length])
        try:
            got = read_plane(path)
        except InputError as error:
            assert "\n" not in str(error)
        else:  # the microscope's own notes come last
            np.testing.assert_array_equal(got, pixels)


def test_missing_blocks_are_not_filled_with_zeros(tmp_path, pixels):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels[0], rowsperstrip=10, compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = tiff.pages.first.tags["StripByteCounts"]
        tag.overwrite([*tag.value[:-1], 0])
    with pytest.raises(InputError, match="cut off"):
        read_plane(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_read_plane_keeps_values(tmp_path, dtype):
    plane = np.arange(200, dtype=dtype).reshape(10, 20)
    tifffile.imwrite(tmp_path / "a.tif", plane)
    got = read_plane(tmp_path / "a.tif")
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, plane)


def test_read_plane_refuses_other_number_types(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((9, 9), np.int16))
    with pytest.raises(InputError, match=r"uint16 or float in 0\.\.1, got int16"):
        read_plane(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", np.full((9, 9), 300, np.float32))
    with pytest.raises(InputError, match=r"within 0\.\.1"):
        read_plane(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", np.full((9, 9), 0.5, np.float32))
    assert (read_plane(tmp_path / "a.tif") == 32768).all()


REVERSED = {
    "OME": {"ome": True, "metadata": {"axes": "CYX", "Channel": {"Name": list(CHANNELS[::-1])}}},
    "ImageJ": {"imagej": True, "metadata": {"axes": "CYX", "Labels": list(CHANNELS[::-1])}},
}


@pytest.mark.parametrize("kind", REVERSED)
def test_channel_names_of_other_programs_count(tmp_path, pixels, kind):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels[::-1], photometric="minisblack", **REVERSED[kind])
    np.testing.assert_array_equal(read_merged(path).pixels, pixels)


def test_foreign_channel_names_are_listed(tmp_path, pixels):
    notes = {"axes": "CYX", "Channel": {"Name": list("abcde")}}
    tifffile.imwrite(tmp_path / "a.tif", pixels, ome=True, photometric="minisblack", metadata=notes)
    with pytest.raises(InputError, match=r"a\.tif: channel Mito .* available: a, b, c, d, e"):
        read_merged(tmp_path / "a.tif")


def test_channels_that_were_written_one_by_one(tmp_path, pixels):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for plane in pixels:
            tiff.write(plane, contiguous=False)
    np.testing.assert_array_equal(read_merged(tmp_path / "a.tif").pixels, pixels)
    with pytest.raises(InputError, match="one channel"):
        read_plane(tmp_path / "a.tif")


def test_numpy_files_of_the_other_byte_order(tmp_path, pixels):
    np.save(tmp_path / "a.npy", pixels.astype(">u2"))
    got = read_merged(tmp_path / "a.npy").pixels
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, pixels)


def test_read_plane_wants_one_channel(tmp_path, pixels):
    write_merged(tmp_path / "a.tif", pixels, 0.5)
    with pytest.raises(InputError, match="one channel"):
        read_plane(tmp_path / "a.tif")


def test_write_merged_refuses_what_it_could_not_read(tmp_path, pixels):
    for bad in (pixels[:4], pixels.astype(np.float32), pixels[0]):
        with pytest.raises(InputError, match="needs uint16 pixels"):
            write_merged(tmp_path / "a.tif", bad, 0.5)
    assert not list(tmp_path.iterdir())


def test_write_merged_into_a_place_that_is_no_folder(tmp_path, pixels):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_merged(tmp_path / "file" / "a.tif", pixels, 0.5)


def test_other_users_of_tifffile_keep_its_log(tmp_path, caplog):
    read = tmp_path / "a.tif"
    read.write_bytes(b"II*\0")
    with pytest.raises(InputError):
        read_plane(read)
    with caplog.at_level(logging.WARNING):
        logging.getLogger("tifffile").warning("something of theirs")
    assert [record.message for record in caplog.records] == ["something of theirs"]
