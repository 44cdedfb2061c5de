"""Fetching against a local server that stands in for the bucket, and fails in every way."""

import hashlib
import http.server
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError, StepFailed
from cpssl_lite.data import download as module
from cpssl_lite.data.download import Downloader, Remote, Stopped
from cpssl_lite.data.fetch import choose, fetch, index_of, locate, missing, write_load_data

BODY = bytes(range(256)) * 4000  # about 1 MB
SHA = hashlib.sha256(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Does for each request what the plan of its path says next, then serves properly."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        plan = self.server.plans.get(self.path, [])
        fault = plan.pop(0) if plan else "ok"
        kind, _, number = fault.partition(" ")
        self.server.seen.append((self.path, fault, dict(self.headers)))
        if kind == "status":
            self.send_response(int(number))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, start, status = BODY, 0, 200
        if kind == "wrong":
            body = b"x" + BODY[1:]
        if kind == "longer":
            body = BODY + b"more"
        asked = self.headers.get("Range")
        tag = '"two"' if kind == "changed" else '"one"'
        fits = self.headers.get("If-Range", tag) == tag
        if asked and fits and kind not in ("norange", "whole"):
            start, status = int(asked[6:-1]), 206
        if kind == "hang":
            time.sleep(float(number))
        self.send_response(status)
        if status == 206:
            begin = start + 1 if kind == "otherrange" else start
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        self.send_header("ETag", tag)
        if kind == "unsized":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        part = body[start:]
        try:
            if kind == "cut":
                self.wfile.write(part[: int(number)])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(2)
            elif kind == "stall":
                self.wfile.write(part[: len(part) // 2])
                self.wfile.flush()
                time.sleep(float(number))
            elif kind == "drip":
                for i in range(0, len(part), 50_000):
                    self.wfile.write(part[i : i + 50_000])
                    time.sleep(float(number or 0.03))
            else:
                self.wfile.write(part)
        except OSError:
            self.close_connection = True


@pytest.fixture
def server():
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.daemon_threads = True
    served.plans, served.seen = {}, []
    threading.Thread(target=served.serve_forever, daemon=True).start()
    served.url = f"http://127.0.0.1:{served.server_port}"
    yield served
    served.shutdown()
    served.server_close()


def get(server, folder, plan, known=True, **options):
    """Fetch one file whose requests go as the plan says."""
    server.plans["/a.bin"] = plan.copy()
    remote = Remote("sub/a.bin", f"{server.url}/a.bin")
    if known:
        remote = Remote("sub/a.bin", f"{server.url}/a.bin", len(BODY), SHA)
    return Downloader(folder, **{"pause": 0.01, "timeout": 0.5, "tries": 3, **options}).get(remote)


MENDED = {
    "nothing wrong": [],
    "500 then success": ["status 500"],
    "503 twice": ["status 503", "status 502"],
    "too many requests": ["status 429"],
    "cut at once": ["cut 0"],
    "cut midway": ["cut 300000"],
    "cut twice": ["cut 300000", "cut 200000"],
    "wrong bytes once": ["wrong"],
    "longer file once": ["longer"],
    "hung before the answer": ["hang 1"],
    "hung midway": ["stall 1"],
    "cut, then a server without ranges": ["cut 300000", "norange"],
    "cut, then another range than asked": ["cut 300000", "otherrange"],
    "cut, then the file has changed and is whole": ["cut 300000", "changed"],
    "cut, then range not satisfiable": ["cut 300000", "status 416"],
    "no length given": ["unsized"],
}


@pytest.mark.parametrize("case", MENDED)
def test_what_trying_again_mends(server, tmp_path, case):
    path = get(server, tmp_path, MENDED[case])
    assert path == tmp_path / "sub" / "a.bin" and path.read_bytes() == BODY
    assert not list(tmp_path.rglob("*.part*"))


def test_a_cut_download_goes_on_where_it_stopped(server, tmp_path):
    get(server, tmp_path, ["cut 300000"])
    ranges = [headers.get("Range") for _, _, headers in server.seen]
    assert ranges[0] is None and 0 < int(ranges[1][6:-1]) <= 300_000


def test_a_run_killed_at_a_new_version_resumes_none_of_the_old(server, tmp_path, monkeypatch):
    """The old bytes go before the new version's tag is written."""
    part = tmp_path / ".fetch" / f"{hashlib.sha256(b'sub/a.bin').hexdigest()[:16]}.part"
    with pytest.raises(InputError):
        get(server, tmp_path, ["cut 300000"], known=False, tries=1)
    assert part.stat().st_size and module._tag(part).read_text() == '"one"'
    written = Path.write_text

    def killed(path, text):
        written(path, text)
        raise SystemExit

    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(SystemExit):
        get(server, tmp_path, ["changed"], known=False)
    assert module._tag(part).read_text() == '"two"' and not part.exists()


HOPELESS = {
    "not found": (["status 404"], "404", 1),
    "forbidden": (["status 403"], "403", 1),
    "gone": (["status 410"], "410", 1),
    "500 for ever": (["status 500"] * 9, "3 tries .*500", 3),
    "cut for ever": (["cut 0"] * 9, "3 tries .*cut", 3),
    "hung for ever": (["hang 1"] * 9, "3 tries .*nothing came for 0.5 s", 3),
    "wrong bytes for ever": (["wrong"] * 9, "3 tries .*wrong bytes: sha256", 3),
    "longer for ever": (["longer"] * 9, "3 tries .*the manifest says", 3),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_what_cannot_be_mended_leaves_nothing_and_says_the_file(server, tmp_path, case):
    plan, words, requests = HOPELESS[case]
    with pytest.raises(InputError, match=rf"sub/a\.bin: .*{words}") as caught:
        get(server, tmp_path, plan)
    assert "\n" not in str(caught.value)
    assert len(server.seen) == requests  # bounded
    assert not (tmp_path / "sub" / "a.bin").exists()


def test_a_server_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be reached"):
        remote = Remote("a", "http://127.0.0.1:9/a")
        Downloader(tmp_path, tries=2, pause=0.01).get(remote)


def test_without_size_or_digest_the_announced_length_counts(server, tmp_path):
    assert get(server, tmp_path, ["cut 300000"], known=False).read_bytes() == BODY
    with pytest.raises(InputError, match="3 tries"):
        get(server, tmp_path / "b", ["cut 10"] * 9 + ["changed"], known=False)


def test_what_is_there_is_not_fetched_again_but_a_wrong_size_is(server, tmp_path):
    path = get(server, tmp_path, [])
    get(server, tmp_path, [])
    assert len(server.seen) == 1
    path.write_bytes(BODY[:100])
    assert get(server, tmp_path, []).read_bytes() == BODY


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a/../../b", "C:\\x", "", "\\\\host\\x"])
def test_paths_that_leave_the_folder_are_refused(server, tmp_path, path):
    with pytest.raises(InputError, match="inside its folder"):
        Downloader(tmp_path).get(Remote(path, f"{server.url}/a.bin"))
    assert not server.seen


def test_a_full_disk_is_one_line(server, tmp_path, monkeypatch):
    class Full(io.FileIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "open", lambda path, mode: Full(path, mode), raising=False)
    with pytest.raises(InputError, match=r"sub/a\.bin: .*disk is full"):
        get(server, tmp_path, [])
    assert not (tmp_path / "sub" / "a.bin").exists()


def test_two_at_once_fetch_once(server, tmp_path):
    server.plans["/a.bin"] = ["drip"]
    remote = Remote("a.bin", f"{server.url}/a.bin", len(BODY), SHA)
    threads = [threading.Thread(target=Downloader(tmp_path).get, args=(remote,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (tmp_path / "a.bin").read_bytes() == BODY and len(server.seen) == 1


def test_stopping_keeps_what_came(server, tmp_path):
    server.plans["/a.bin"] = ["drip"]
    loader = Downloader(tmp_path)
    loader.on_bytes = lambda n: loader.stop.set()
    remote = Remote("a.bin", f"{server.url}/a.bin", len(BODY), SHA)
    with pytest.raises(Stopped):
        loader.get(remote)
    assert not (tmp_path / "a.bin").exists() and list(tmp_path.rglob("*.part"))
    assert Downloader(tmp_path).get(remote).read_bytes() == BODY
    assert "Range" in server.seen[-1][2]


def index(server, n=4):
    return pd.DataFrame(
        {
            "path": [f"p{i // 2}/{i}.bin" for i in range(n)],
            "url": [f"{server.url}/{i}.bin" for i in range(n)],
            "bytes": len(BODY),
            "sha256": SHA,
            "Metadata_Plate": [f"p{i // 2}" for i in range(n)],
            "Metadata_Well": "A01",
            "Channel": ["DNA", "ER"] * (n // 2),
        }
    )


def test_one_failure_does_not_stop_the_others_and_the_next_call_goes_on(server, tmp_path):
    server.plans["/1.bin"] = ["status 404"]
    with pytest.raises(StepFailed, match=r"p0/1\.bin: the server says 404.*same command"):
        fetch(index(server), tmp_path, pause=0.01)
    assert [r.path for r in missing(index(server), tmp_path)] == ["p0/1.bin"]
    before = len(server.seen)
    table = pd.read_csv(fetch(index(server), tmp_path))
    assert len(server.seen) == before + 1
    assert table["FileName_OrigDNA"].tolist() == ["p0/0.bin", "p1/2.bin"]


def test_only_images_may_be_absent(server, tmp_path):
    server.plans["/1.bin"] = ["status 404"]
    with pytest.raises(StepFailed, match="404"):
        fetch(index(server).drop(columns="Channel"), tmp_path, pause=0.01, skip_absent=True)


def test_ctrl_c_leaves_whole_files_only(server, tmp_path):
    server.plans = {f"/{i}.bin": ["drip 0.5"] for i in range(4)}
    script = (
        "import sys, pandas as pd\nfrom cpssl_lite.data.fetch import fetch\n"
        "fetch(pd.read_parquet(sys.argv[1]), sys.argv[2], workers=2)"
    )
    index(server).to_parquet(tmp_path / "index.parquet")
    words = [sys.executable, "-c", script, tmp_path / "index.parquet", tmp_path / "out"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    while not server.seen and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) != 0
    assert all(p.read_bytes() == BODY for p in (tmp_path / "out").glob("p*/*.bin"))
    fetch(index(server), tmp_path / "out")
    assert len(list((tmp_path / "out").glob("p*/*.bin"))) == 4


def test_plates_wells_and_unknown_names(server):
    assert len(choose(index(server), plates=["p1"], wells=["A01"], sites=[])) == 2
    with pytest.raises(InputError, match=r"no plate 'p9' .* p0, p1"):
        choose(index(server), plates=["p9"])
    with pytest.raises(InputError, match="by sites"):
        choose(index(server), sites=["1"])


def test_files_are_found_under_any_layout(tmp_path):
    index = pd.DataFrame({"path": ["images/P1/a.tiff", "images/P2/a.tiff"], "Channel": "DNA"})
    for plate in ("P1", "P2"):
        (tmp_path / "elsewhere" / plate).mkdir(parents=True)
        (tmp_path / "elsewhere" / plate / "a.tiff").touch()
    found = locate(index, tmp_path)["path"].tolist()
    assert found == [str(tmp_path / f"elsewhere/{p}/a.tiff") for p in ("P1", "P2")]
    (tmp_path / "elsewhere/P2/a.tiff").unlink()
    assert locate(index, tmp_path) is None
    assert locate(index, tmp_path / "nowhere") is None


def test_a_manifest_without_files_cannot_be_fetched():
    with pytest.raises(InputError, match="no files to fetch"):
        index_of({"name": "lite", "kind": "simulated"})


def test_real_fields_from_a_bucket_to_profiles(real, tmp_path, monkeypatch):
    """Every CPJUMP1 example: fetched from a server, merged, embedded."""
    from cpssl_lite.data.manifests import load_manifest
    from cpssl_lite.data.prepare import prepare
    from cpssl_lite.images.table import read_image_table
    from cpssl_lite.models.checkpoints import DEFAULT, load_encoder
    from cpssl_lite.profiles.extract import extract
    from cpssl_lite.profiles.table import read_profiles

    files = {path.name: path for path in (real / "images").rglob("*.tiff")}

    class Bucket(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            body = files[self.path.rpartition("/")[2]].read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    bucket = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=bucket.serve_forever, daemon=True).start()
    monkeypatch.setenv("CPSSL_BASE_URL", f"http://127.0.0.1:{bucket.server_port}")
    table = fetch(index_of(load_manifest("cpjump1_examples")), tmp_path / "raw")
    bucket.shutdown()
    assert table == tmp_path / "raw" / "load_data.csv"
    images = read_image_table(prepare(table, tmp_path / "merged", workers=1))
    out = extract(images, load_encoder(DEFAULT), tmp_path / "raw.parquet")
    profiles = read_profiles(out)
    assert len(profiles) == 7 and (profiles["Metadata_Control"] == "negcon").sum() == 1


def test_what_an_earlier_call_fetched_stays_in_the_table(tmp_path):
    def image(plate, channel):
        path = tmp_path / plate / f"{channel}.tif"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        what = {"Metadata_Plate": plate, "Metadata_Well": "A01", "Channel": channel}
        return what | {"path": f"{plate}/{channel}.tif"}

    def plates_after(*plates):
        rows = [image(plate, channel) for plate in plates for channel in ("DNA", "ER")]
        table = write_load_data(pd.DataFrame(rows), tmp_path)
        return pd.read_csv(table, dtype=str)["Metadata_Plate"].tolist()

    assert plates_after("2", "3") == ["2", "3"]
    assert plates_after("01", "2") == ["01", "2", "3"]
    (tmp_path / "3" / "ER.tif").unlink()
    assert plates_after("2") == ["01", "2"]
