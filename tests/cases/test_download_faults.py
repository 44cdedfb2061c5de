"""Servers that answer in every wrong way: one line in a bounded time, or the right file."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError, StepFailed
from cpssl_lite.data import download
from cpssl_lite.data.download import Downloader, Remote
from cpssl_lite.data.fetch import fetch

BODY = b"PK\x03\x04" + bytes(range(256)) * 40
OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: %d\r\n\r\n" % len(BODY)
PAGE = b"\n<!DOCTYPE html><html><body>Please log in</body></html>"


class Server:
    """Gives one fixed answer, piece by piece; a number is a pause, None the end of a turn."""

    def __init__(self, *pieces, forever=None):
        self.pieces, self.forever, self.asked = pieces, forever, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/a.pth"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                line, _ = self.socket.accept()
            except OSError:
                return
            self.asked += 1
            threading.Thread(target=self._answer, args=(line,), daemon=True).start()

    def _answer(self, line):
        try:
            line.recv(65536)
            for piece in self.pieces:
                time.sleep(piece) if isinstance(piece, float) else line.sendall(piece)
            while self.forever:
                line.sendall(self.forever)
                time.sleep(0.02 if len(self.forever) < 100 else 0)
            line.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        finally:
            line.close()


@pytest.fixture
def serve():
    servers = []

    def start(*pieces, **options):
        servers.append(Server(*pieces, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.socket.close()


def get(folder, server, path="a.pth", size=None, **options):
    loader = Downloader(folder, **{"tries": 2, "pause": 0.01, "timeout": 0.4, **options})
    return loader.get(Remote(path, server.url, size))


def moved(where):
    return b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + where + b"\r\n\r\n"


def sized(length):
    return OK + b"Content-Length: " + length + b"\r\n\r\n" + BODY


WRONG = {
    "a length in words": ([sized(b"many")], "announces 'many' bytes"),
    "a length below nothing": ([sized(b"-5")], "announces '-5' bytes"),
    "two lengths": ([sized(b"5, 6")], "2 tries|cannot be used"),
    "a length of thousands of digits": ([sized(b"9" * 5000)], "announces '999"),
    "moved to half an address": ([moved(b"http://[::1")], "leads to, an address that cannot"),
    "moved to a port in words": ([moved(b"http://localhost:port/a")], "leads to, an address that"),
    "moved to a name that is too long": ([moved(b"http://" + b"a" * 300 + b".x/")], "leads to, an"),
    "moved to a file": ([moved(b"file:///etc/passwd")], "leads to, an address that cannot"),
    "an answer that ends in its head": ([OK + b"X-A: b"], "wrong bytes: none came"),
    "an empty file": ([OK + b"Content-Length: 0\r\n\r\n"], "wrong bytes: none came"),
    "no HTTP at all": ([b"220 ftp.example.org ready\r\n"], "2 tries"),
    "a page in the place of a checkpoint": ([OK + b"\r\n" + PAGE], "a page of HTML came, not"),
    "something else": ([OK + b"\r\n" + b"GIF89a...."], "first bytes b'GIF89a..' are not a .pth"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_answers_are_one_line(serve, tmp_path, what):
    pieces, words = WRONG[what]
    with pytest.raises(InputError, match=words) as caught:
        get(tmp_path, serve(*pieces))
    assert "\n" not in str(caught.value) and not (tmp_path / "a.pth").exists()


DRIPS = {
    "the body, a byte at a time": (OK + b"Content-Length: 100000\r\n\r\n", b"x", "bytes came in"),
    "a body without a length": (OK + b"\r\n", b"x", "bytes came in"),
    "the head of the answer": (OK, b"X-A: b\r\n", "2 tries"),
    "one line of the head": (OK + b"X-A: ", b"b", "2 tries"),
}


@pytest.mark.parametrize("what", DRIPS)
def test_a_server_that_drips_for_ever_is_left(serve, tmp_path, what):
    start, drop, words = DRIPS[what]
    began = time.monotonic()
    with pytest.raises(InputError, match=words) as caught:
        get(tmp_path, serve(start, forever=drop))
    assert "\n" not in str(caught.value) and time.monotonic() - began < 40


def test_a_try_has_an_end_however_steadily_bytes_come(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SLOWEST", 0)
    with pytest.raises(InputError, match="not whole after"):
        get(tmp_path, serve(OK + b"\r\n", forever=b"x"), longest=0.3)


def test_a_known_size_ends_an_endless_body(serve, tmp_path):
    server = serve(OK + b"\r\n", forever=b"x" * 100_000)
    came = []
    with pytest.raises(InputError, match="more bytes came than the 100,000"):
        get(tmp_path, server, size=100_000, on_bytes=came.append, timeout=5.0)
    assert sum(came) < 3_000_000 and not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("path", ["a\0b", "a/\0", "a\nb", "\ud800.tif", "a/../../b"])
def test_paths_that_no_disk_has(serve, tmp_path, path):
    with pytest.raises(InputError, match="inside its folder"):
        get(tmp_path, serve(SIZED, BODY), path=path)


@pytest.mark.parametrize(
    ("path", "body"),
    [("a.zip", BODY), ("net.ckpt", BODY), ("a.csv", b"a,b\n"), ("page.html", PAGE),
     ("a.safetensors", b"\x80\x02"), ("a.unknown", b"anything")],
)  # fmt: skip
def test_right_files_without_digest_are_kept(serve, tmp_path, path, body):
    assert get(tmp_path, serve(OK + b"\r\n", body), path=path).read_bytes() == body


def index(*servers):
    rows = [{"path": f"{i}.zip", "url": server.url, "bytes": None, "sha256": None}
            for i, server in enumerate(servers)]  # fmt: skip
    return pd.DataFrame(rows)


def test_what_nothing_vouches_for_is_said_at_the_end(serve, tmp_path, caplog):
    server = serve(SIZED, BODY)
    fetch(index(server, server), tmp_path)
    assert "2 files came with no digest" in caplog.text and "0.zip" in caplog.text
    caplog.clear()
    fetch(index(server, server), tmp_path)
    assert "no digest" not in caplog.text, "they are there, nothing came"


def test_it_is_said_beside_a_failure_too(serve, tmp_path, caplog):
    page = serve(OK + b"\r\n", PAGE)
    with pytest.raises(StepFailed, match="a page of HTML"):
        fetch(index(serve(SIZED, BODY), page), tmp_path)
    assert "1 file came with no digest" in caplog.text


WAITING = {
    "before the answer": (60.0,),
    "in the middle of the head": (OK, 60.0),
    "in the body": (SIZED, BODY[:100], 60.0),
}


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
@pytest.mark.parametrize("where", WAITING)
def test_ctrl_c_does_not_wait_for_a_slow_server(serve, tmp_path, where):
    server = serve(*WAITING[where])
    index(server).to_csv(tmp_path / "index.csv")
    script = (
        "import signal, sys, pandas as pd\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from cpssl_lite.data.fetch import fetch\n"
        "fetch(pd.read_csv(sys.argv[1]), sys.argv[2], workers=2)"
    )
    words = [sys.executable, "-c", script, str(tmp_path / "index.csv"), str(tmp_path / "out")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while not server.asked and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=50)
    assert "KeyboardInterrupt" in said and time.monotonic() - began < 20
    assert not (tmp_path / "out" / "0.zip").exists()
