"""`cpssl data fetch` of a JUMP plate from a local server with the gallery's key layout."""

import gzip
import hashlib
import http.server
import io
import re
import sys
import threading
import zipfile
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import tifffile

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.features import normalized
from cpssl_lite.cli.main import main
from cpssl_lite.data import fetch as fetching
from cpssl_lite.data import gallery
from cpssl_lite.data.manifests import FOLDER, load_manifest
from cpssl_lite.data.prepare import prepare
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_merged
from cpssl_lite.profiles.table import assign_roles, feature_columns, read_profiles

INDEX = pd.read_parquet(FOLDER / "jump_target2.parquet")
SOURCE, BATCH, PLATE = INDEX.loc[INDEX["Metadata_Source"] == "source_3"].iloc[0][:3]
ROOT = f"cpg0016-jump/{SOURCE}"
TABLES = f"{ROOT}/workspace/load_data_csv/{BATCH}/{PLATE}/"
IMAGES = f"{ROOT}/images/{BATCH}/images/{PLATE}__2021 a+b#c/Images/"
WELLS, SITES = ("A01", "A02", "B03"), ("1", "2")


class Bucket(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        key = unquote(self.path.lstrip("/"))
        body = self.server.files.get(key)
        self.server.seen.append(key)
        self.send_response(200 if body is not None else 404)
        body = body or b""
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.md5(body).hexdigest()}"')
        self.end_headers()
        self.wfile.write(self.server.wrong.pop(key, body))

    def version_string(self):
        return "AmazonS3"


@pytest.fixture
def bucket(monkeypatch):
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    served.daemon_threads = True
    served.files, served.wrong, served.seen = {}, {}, []
    threading.Thread(target=served.serve_forever, daemon=True).start()
    monkeypatch.setenv("CPSSL_BASE_URL", f"http://127.0.0.1:{served.server_port}")
    yield served
    served.shutdown()
    served.server_close()


def rows():
    return [(w, s, c) for w in WELLS for s in SITES for c in CHANNELS]


def load_data(form):
    """A plate's table as the gallery has it, in one of the forms that it is found in."""
    table = []
    for well in WELLS:
        for site in SITES:
            row = {"Metadata_Source": SOURCE, "Metadata_Batch": BATCH, "Metadata_Plate": PLATE}
            row |= {"Metadata_Well": well, "Metadata_Site": site}
            for channel in (*CHANNELS, "Brightfield"):
                name = f"{well}s{site}-{channel}.tiff"
                if form == "url":
                    row[f"URL_Orig{channel}"] = f"s3://cellpainting-gallery/{IMAGES}{name}"
                elif form == "https":
                    at = "https://cellpainting-gallery.s3.amazonaws.com/"
                    row[f"URL_Orig{channel}"] = f"{at}{IMAGES}{name}"
                else:
                    at = {"path": "s3://cellpainting-gallery/", "mount": "/home/ubuntu/bucket/"}
                    row[f"PathName_Orig{channel}"] = f"{at[form]}{IMAGES}"
                    row[f"FileName_Orig{channel}"] = name
            table.append(row)
    return pd.DataFrame(table).to_csv(index=False).encode()


def fill(bucket, form="url", name="load_data_with_illum.csv", real=None):
    """Put a plate into the bucket: synthetic images, or the real ones of `real`."""
    body = load_data(form)
    bucket.files[TABLES + name] = gzip.compress(body) if name.endswith("gz") else body
    rng = np.random.default_rng(0)
    fields = sorted((real / "images").rglob("*ch1*.tiff")) if real else []
    for number, (well, site, channel) in enumerate(rows()):
        file = io.BytesIO()
        if real:
            first, channels = fields[number // 5], "ch1 ch2 ch3 ch4 ch5".split()
            name = first.name.replace("ch1", channels[CHANNELS.index(channel)])
            file.write(first.with_name(name).read_bytes())
        else:
            tifffile.imwrite(file, rng.gamma(2, 900, (60, 90)).astype(np.uint16))
        bucket.files[f"{IMAGES}{well}s{site}-{channel}.tiff"] = file.getvalue()
    for channel in CHANNELS:
        file = io.BytesIO()
        np.save(file, np.full((1080, 1080) if real else (60, 90), 2.0))
        key = f"{ROOT}/images/{BATCH}/illum/{PLATE}/{PLATE}_Illum{channel}.npy"
        bucket.files[key] = file.getvalue()


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """`cpssl data fetch` as people type it: exit status, and all that it printed."""

    def fetch(dataset, *words):
        words = ["cpssl", "data", "fetch", dataset, "--cache", str(tmp_path), *words]
        monkeypatch.setattr(sys, "argv", words)
        monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, "".join(capsys.readouterr())

    return fetch


@pytest.fixture
def fetch(run):
    return lambda *words: run("jump_target2", "--plates", PLATE, *words)


@pytest.mark.parametrize(
    ("form", "one", "other"),
    [
        ("url", "Mito", "AGP"),
        ("https", "DNA", "ER"),
        ("path", "RNA", "Mito"),
        ("mount", "ER", "AGP"),
    ],
)
def test_a_table_that_names_one_file_for_two_channels(bucket, fetch, tmp_path, form, one, other):
    fill(bucket, form)
    key = f"{TABLES}load_data_with_illum.csv"
    table = pd.read_csv(io.BytesIO(bucket.files[key]))
    kind = "URL" if form in ("url", "https") else "FileName"
    names = [f"{kind}_Orig{channel}" for channel in (one, other)]
    table.loc[3, names[0]] = table.loc[3, names[1]]
    bucket.files[key] = table.to_csv(index=False).encode()
    code, said = fetch("--wells", "A01", "--yes")
    assert code == 2 and f"{PLATE}/load_data_with_illum.csv: row 4: {kind}_Orig" in said
    assert all(name in said for name in names) and "name one file" in said
    assert not list(tmp_path.rglob("*.tiff"))


FORMS = [
    ("url", "load_data_with_illum.csv"),
    ("https", "load_data_with_illum.csv.gz"),
    ("path", "load_data.csv"),
    ("mount", "load_data.csv.gz"),
]


@pytest.mark.parametrize(("form", "name"), FORMS)
def test_wells_and_sites_of_a_plate(bucket, fetch, tmp_path, form, name):
    fill(bucket, form, name)
    code, said = fetch("--wells", "A01,B03", "--sites", "2")
    assert code == 0, said
    assert "1 plate, about 2 fields, 0.03 GB; licence: CC0-1.0" in said.replace(",", "", 0)
    table = read_image_table(tmp_path / "jump_target2" / "load_data.csv")
    assert table["Metadata_Well"].tolist() == ["A01", "B03"]
    assert table["Metadata_Site"].tolist() == ["2", "2"]
    assert (table["Metadata_Target"] != "").any() and (table["Metadata_Source"] == SOURCE).all()
    fetched = [key for key in bucket.seen if key.startswith(IMAGES)]
    assert sorted(fetched) == sorted(
        f"{IMAGES}{w}s2-{c}.tiff" for w in ("A01", "B03") for c in CHANNELS
    )
    before = len(bucket.seen)
    assert fetch("--wells", "A01,B03", "--sites", "2")[0] == 0
    again = [key for key in bucket.seen[before:] if key in bucket.files]
    assert not again  # everything was there


@pytest.mark.parametrize("kind", ["synthetic", "real"])
def test_fetched_wells_with_their_illumination_are_prepared(request, bucket, fetch, tmp_path, kind):
    fill(bucket, real=request.getfixturevalue("real") if kind == "real" else None)
    code, said = fetch("--illum", "--wells", ",".join(WELLS))
    assert code == 0, said
    folder = tmp_path / "jump_target2"
    plain = prepare(folder / "load_data.csv", tmp_path / "plain", workers=1)
    even = prepare(folder / "load_data.csv", tmp_path / "even", workers=1, illum=folder / "illum")
    files = [read_image_table(made)["FileName_Merged"] for made in (plain, even)]
    for one, other in zip(*files, strict=True):
        # An illumination that is 2 everywhere changes nothing once the channels are scaled.
        np.testing.assert_allclose(
            read_merged(one).pixels.astype(int), read_merged(other).pixels, atol=1
        )
    table = read_image_table(even)
    assert len(table) == 6 and set(table["Metadata_Plate"]) == {PLATE}


def npy(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "the server says 404"),
        (npy(np.ones((60, 90)))[:200], "not a readable illumination function"),
        (npy(np.ones((90, 60))), r"shape \(90, 60\), the fields of its plate are \(60, 90\)"),
        (npy(np.zeros((60, 90))), "must be positive everywhere, got 0"),
    ],
)
def test_an_illumination_function_of_the_gallery_that_is_none(
    bucket, fetch, tmp_path, body, message
):
    fill(bucket)
    key = f"{ROOT}/images/{BATCH}/illum/{PLATE}/{PLATE}_IllumER.npy"
    bucket.files |= {key: body}
    code, said = fetch("--illum", "--wells", "A01", "--sites", "1")
    if code == 0:
        folder = tmp_path / "jump_target2"
        with pytest.raises(InputError) as error:
            prepare(folder / "load_data.csv", tmp_path / "out", workers=1, illum=folder / "illum")
        said = str(error.value)
    assert (code == 0) == (body is not None)
    assert f"{PLATE}_IllumER.npy" in said and re.search(message, said)


def test_well_profiles_come_with_their_labels(bucket, fetch, tmp_path):
    """As the gallery has them: source, plate, well and features, nothing about the compound."""
    wells = INDEX[INDEX["Metadata_Plate"] == PLATE]
    table = wells[["Metadata_Source", "Metadata_Plate", "Metadata_Well"]].copy()
    generator = np.random.default_rng(0)
    for name in ("Cells_AreaShape_Area", "Nuclei_Texture_1", "Image_Count_Cells"):
        table[name] = generator.normal(size=len(table)).astype(np.float32)
    file = io.BytesIO()
    table.sample(frac=1, random_state=0).to_parquet(file)
    key = f"{ROOT}/workspace/profiles/{BATCH}/{PLATE}/{PLATE}.parquet"
    bucket.files[key] = file.getvalue()
    code, said = fetch("--profiles", "--yes")
    assert code == 0, said
    made = read_profiles(tmp_path / "jump_target2" / "profiles" / f"{SOURCE}-{PLATE}.parquet")
    assert len(made) == len(wells) and (made["Metadata_Batch"] == BATCH).all()
    assert (made["Metadata_Control"] == "negcon").sum() == 64
    one = made[made["Metadata_Well"] == "B03"].iloc[0]
    raw, label = (t[t["Metadata_Well"] == "B03"].iloc[0] for t in (table, wells))
    assert one["Cells_AreaShape_Area"] == raw["Cells_AreaShape_Area"]
    assert one["Metadata_Target"] == label["Metadata_Target"]
    bucket.files[key] = b"PAR1 no"
    (tmp_path / "jump_target2" / key.partition("/")[2]).unlink()
    code, said = fetch("--profiles", "--yes")
    assert code == 2 and f"{PLATE}.parquet: not a readable table" in said


def test_a_dry_run_asks_nothing_of_the_server(bucket, fetch, tmp_path):
    code, said = fetch("--dry-run")
    assert code == 0 and "about 3,456 fields, 43.72 GB" in said
    assert not bucket.seen and not list(tmp_path.iterdir())


def test_much_is_not_fetched_unasked(bucket, fetch, tmp_path):
    code, said = fetch()
    assert code == 130 and "more than 5 GB. Fetch it?" in said
    assert not bucket.seen


def test_an_image_that_is_nowhere(bucket, fetch, tmp_path, caplog):
    fill(bucket)
    gone = f"{IMAGES}A02s1-RNA.tiff"
    del bucket.files[gone]
    words = ("--wells", "A01,A02", "--yes")
    code, said = fetch(*words)
    assert code == 1 and "A02s1-RNA.tiff: the server says 404" in said
    assert not (tmp_path / "jump_target2/load_data.csv").exists()
    code, said = fetch(*words, "--skip-absent")
    assert code == 0, said
    table = read_image_table(tmp_path / "jump_target2/load_data.csv")
    assert len(table) == 3
    assert "1 field left out" in caplog.text


def test_bytes_that_do_not_fit_the_etag_are_fetched_again(bucket, fetch, tmp_path):
    fill(bucket)
    key = f"{IMAGES}A01s1-DNA.tiff"
    bucket.wrong[key] = bytes(len(bucket.files[key]))
    assert fetch("--wells", "A01", "--sites", "1")[0] == 0
    file = next((tmp_path / "jump_target2").rglob("A01s1-DNA.tiff"))
    assert file.read_bytes() == bucket.files[key]
    assert bucket.seen.count(key) == 2


def test_a_plate_without_a_table(bucket, fetch, tmp_path):
    code, said = fetch("--yes")
    assert code == 2
    assert f"plate {PLATE}: no load_data table at" in said
    assert "load_data.csv.gz)" in said and len(bucket.seen) == 4


BROKEN = {
    "no RNA": (lambda t: t.drop(columns="URL_OrigRNA"), "no URL_Orig.* for RNA"),
    "elsewhere": (lambda t: t.replace("cpg0016-jump", "other", regex=True), "row 1: .*not in cpg"),
    "no wells": (lambda t: t.drop(columns="Metadata_Well"), "no columns Metadata_Well"),
    "a way out": (
        lambda t: t.replace("images/[A-Z]", "images/../../../../../../up", regex=True),
        "inside its folder",
    ),
    "one site twice": (lambda t: t.assign(Metadata_Site="1"), "has two .* images"),
    "other wells": (lambda t: t.replace("^[AB]0", "P1", regex=True), "no image is left"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_tables_that_cannot_be_used(bucket, tmp_path, case):
    change, words = BROKEN[case]
    table = change(pd.read_csv(io.BytesIO(load_data("url")), dtype=str))
    bucket.files[TABLES + "load_data.csv"] = table.to_csv(index=False).encode()
    wells = INDEX[(INDEX["Metadata_Plate"] == PLATE) & INDEX["Metadata_Well"].isin(WELLS)]
    with pytest.raises(InputError, match=words):
        manifest = load_manifest("jump_target2")
        images = gallery.load_tables(manifest, wells, tmp_path)
        index = gallery.image_index(manifest, wells, images)
        fetching.missing(index, tmp_path)


def test_a_damaged_table_is_one_line(bucket, fetch, tmp_path):
    fill(bucket, name="load_data.csv.gz")
    key = TABLES + "load_data.csv.gz"
    bucket.files[key] = bucket.files[key][:200] + bytes(300)
    code, said = fetch("--wells", "A01")
    assert code == 2 and "load_data.csv.gz: not a readable table" in said


@pytest.mark.parametrize("plate", ["../../up", ".."])
def test_plate_names_never_leave_the_folder(bucket, tmp_path, plate):
    manifest = load_manifest("cpg0012_bioactives")
    wells = gallery.wells_of(manifest, [plate])
    with pytest.raises(InputError, match="inside its folder"):
        gallery.load_tables(manifest, wells, tmp_path / "data")
    assert not bucket.seen


def test_a_set_whose_manifest_names_no_wells(bucket, run, tmp_path):
    """cpg0012: other names of the stains, lower-case wells, plates named by the user."""
    root = "cpg0012-wawer-bioactivecompoundprofiling/broad"
    table, names = [], ("Hoechst", "ERSyto", "ERSytoBleed", "Ph_golgi", "Mito")
    for well in ("a01", "p24"):
        row = {"Metadata_Plate": "24277", "Metadata_Well": well, "Metadata_Site": "1"}
        for name in names:
            file = f"cdp2bioactives_{well}_s1_{name}.tif"
            row[f"PathName_Orig{name}"] = f"/mnt/disk/{root}/images/CDRP/images/24277"
            row[f"FileName_Orig{name}"] = file
            bucket.files[f"{root}/images/CDRP/images/24277/{file}"] = file.encode()
        table.append(row)
    key = f"{root}/workspace/load_data_csv/CDRP/24277/load_data.csv"
    bucket.files[key] = pd.DataFrame(table).to_csv(index=False).encode()
    maps(bucket)
    code, said = run("cpg0012_bioactives", "--plates", "24277")
    assert code == 130 and "1 plate, of unknown size" in said
    code, said = run("cpg0012_bioactives", "--plates", "24277", "--yes")
    assert code == 0, said
    fields = read_image_table(tmp_path / "cpg0012_bioactives/load_data.csv")
    assert fields["Metadata_Well"].tolist() == ["A01", "P24"]
    assert fields["FileName_DNA"].str.contains("Hoechst").all()
    assert fields["FileName_RNA"].str.contains("ERSytoBleed").all()
    assert fields["Metadata_Perturbation"].tolist() == ["BRD-K1", "DMSO"]
    assert fields["Metadata_Control"].tolist() == ["", "negcon"]


def test_a_wrong_table_is_told_before_maps_are_asked_for(bucket, run):
    root = "cpg0012-wawer-bioactivecompoundprofiling/broad"
    row = {"Metadata_Plate": "24277", "Metadata_Well": "a01", "Metadata_Site": "1"}
    for name in ("Hoechst", "ERSyto", "ERSytoBleed", "Ph_golgi", "Mito"):
        row[f"PathName_Orig{name}"] = f"/mnt/disk/{root}/images/CDRP/images/24277"
        row[f"FileName_Orig{name}"] = "a01_s1_golgi.tif" if name == "Mito" else f"a01_s1_{name}.tif"
    row["FileName_OrigPh_golgi"] = row["FileName_OrigMito"]
    key = f"{root}/workspace/load_data_csv/CDRP/24277/load_data.csv"
    bucket.files[key] = pd.DataFrame([row]).to_csv(index=False).encode()
    code, said = run("cpg0012_bioactives", "--plates", "24277", "--yes")
    assert code == 2 and re.search(r"row 1: FileName_Orig\w+ and FileName_Orig\w+ name one", said)
    assert not any("platemap" in path for path in bucket.seen)


def maps(bucket):
    """Plate maps as the gallery has them: barcodes with commas, controls without a sample."""
    at = "cpg0012-wawer-bioactivecompoundprofiling/broad/workspace/metadata/platemaps/CDRP"
    plates = 'Plate_Map_Name,Assay_Plate_Barcode\nH-A-1,"24,277"\nH-B-2,"24,278"\n'
    bucket.files[f"{at}/barcode_platemap.csv"] = plates.encode()
    head = "plate_map_name\twell_position\tbroad_sample\tmg_per_ml\tmmoles_per_liter\tsolvent\n"
    rows = ("H-A-1\ta01\tBRD-K1\t2\t5.1\tDMSO", "H-A-1\tP24\t\t\t\tDMSO", "H-A-1\tB02\t\t\t\t")
    bucket.files[f"{at}/platemap/H-A-1.txt"] = (head + "\n".join(rows)).encode()


def test_profiles_of_a_set_with_plate_maps(bucket, run, tmp_path):
    maps(bucket)
    root = "cpg0012-wawer-bioactivecompoundprofiling/broad/workspace/profiles/CDRP"
    table = pd.DataFrame(
        {
            "Metadata_Plate": 24277,
            "Metadata_Well": ["a01", "p24", "b02"],
            "Metadata_Object_Count": [512, 600, 7],
            "Cells_AreaShape_Area": [1.5, 2.5, np.nan],
        }
    )
    packed = gzip.compress(table.to_csv(index=False).encode())
    bucket.files[f"{root}/24277/24277_augmented.csv.gz"] = packed
    words = ("cpg0012_bioactives", "--profiles", "--yes", "--plates")
    code, said = run(*words, "24277")
    assert code == 0, said
    made = read_profiles(tmp_path / "cpg0012_bioactives" / "profiles" / "broad-24277.parquet")
    made = made.set_index("Metadata_Well")
    assert made["Metadata_Perturbation"].to_dict() == {"A01": "BRD-K1", "P24": "DMSO", "B02": ""}
    assert made["Metadata_Control"].to_dict() == {"A01": "", "P24": "negcon", "B02": ""}
    assert made["Metadata_Count_Cells"].to_dict() == {"A01": "512", "P24": "600", "B02": "7"}
    assert run(*words, "24277", "--wells", "A01")[0] == 0
    code, said = run(*words, "24279")
    assert code == 2 and "plate 24279: not in " in said


def test_plates_of_other_versions_are_cut_down_to_what_they_share(bucket, run, tmp_path, caplog):
    """And NaN does not stop what follows: selection, normalisation."""
    first = INDEX[INDEX["Metadata_Source"] == "source_3"].drop_duplicates("Metadata_Plate")
    rng = np.random.default_rng(0)
    for number, row in enumerate(first.iloc[:2].to_dict("records")):
        plate, batch = row["Metadata_Plate"], row["Metadata_Batch"]
        wells = INDEX.loc[INDEX["Metadata_Plate"] == plate, ["Metadata_Plate", "Metadata_Well"]]
        names = ["Cells_a", "Nuclei_b", "Cells_never", "Cells_once", "Nuclei_Number_Object_Number"]
        values = pd.DataFrame(rng.normal(size=(len(wells), 5)), wells.index, names)
        values["Cells_never"] = np.nan
        values.iloc[3, 3] = np.inf
        values["Nuclei_Number_Object_Number"] = 25.5
        table = wells.join(values).assign(**{f"Cells_version_{number}": 1.0})
        key = f"{ROOT}/workspace/profiles/{batch}/{plate}/{plate}.parquet"
        file = io.BytesIO()
        table.to_parquet(file)
        bucket.files[key] = file.getvalue()
    plates = ",".join(first["Metadata_Plate"].iloc[:2])
    assert run("jump_target2", "--plates", plates, "--profiles", "--yes")[0] == 0
    assert "2 columns not on all 2 plates: left out" in caplog.text
    files = sorted((tmp_path / "jump_target2" / "profiles").glob("*.parquet"))
    raw = read_profiles(files)
    assert set(raw["Metadata_Count_Cells"]) == {"50"} and "Cells_version_0" not in raw
    made = normalized(assign_roles(raw), "measured")
    assert feature_columns(made) == ["Cells_a", "Nuclei_b"]
    assert "2 of 5 features left out, not defined in every well" in caplog.text
    assert np.isfinite(made[feature_columns(made)].to_numpy()).all()


def test_a_set_without_wells_needs_its_plates_named():
    with pytest.raises(InputError, match=r"name the plates to fetch \(--plates\)"):
        gallery.wells_of(load_manifest("cpg0012_bioactives"))


def test_release_and_checkpoints_say_where_they_are_and_what_they_allow(run):
    code, said = run("authors_release", "--dry-run")
    assert code == 0 and "6.00 GB; licence: CC-BY-NC-4.0 (weights), allows non-comm" in said
    assert "not verified when the manifest was written: address of the file" in said
    code, said = run("authors_dino_vits")
    assert code == 2 and "of authors_release: cpssl data fetch authors_release" in said
    code, said = run("cell_dino")
    assert code == 2 and "after a form has been filled in" in said


def test_an_archive_is_unpacked_once_and_known_by_its_members(bucket, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for name in ("DINO", "MAE"):
            zipped.writestr(f"SSL_data/embeddings/ORF/{name}/well_features.csv", name)
    bucket.files["SSL_data.zip"] = packed.getvalue()
    url = f"http://127.0.0.1:{bucket.server_port}/SSL_data.zip"
    files = [{"path": "SSL_data.zip", "url": url, "unpack": True}]
    index = fetching.index_of({"name": "release", "files": files})
    assert fetching.fetch(index, tmp_path) == tmp_path / "SSL_data"
    table = tmp_path / "SSL_data/embeddings/ORF/MAE/well_features.csv"
    assert table.read_text() == "MAE" and not (tmp_path / "SSL_data.zip").exists()
    assert fetching.fetch(index, tmp_path) == tmp_path / "SSL_data"
    assert len(bucket.seen) == 1
    table.unlink()
    fetching.fetch(index, tmp_path)
    assert table.read_text() == "MAE" and len(bucket.seen) == 2
