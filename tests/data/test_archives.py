import io
import stat
import tarfile
import zipfile

import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import sha256
from cpssl_lite.data.archives import contents, is_unpacked, unpack


def archive(path, members):
    """An archive of {name: text}; a name that begins with "link" becomes a symbolic link."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, text in members.items():
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                kind = stat.S_IFLNK if name.startswith("link") else stat.S_IFREG
                info.external_attr = (kind | 0o644) << 16
                zipped.writestr(info, text)
    else:
        with tarfile.open(path, "w:gz") as tarred:
            for name, text in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(text)
                if name.startswith("link"):
                    info.type, info.linkname, info.size = tarfile.SYMTYPE, "/etc/passwd", 0
                tarred.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.fixture(params=["a.zip", "a.tar.gz"])
def packed(request, tmp_path):
    return lambda members: archive(tmp_path / request.param, members)


def test_unpacked_with_a_list_of_what_came(packed, tmp_path):
    path, out = packed({"a/b.csv": "x,y\n", "c.csv": "z"}), tmp_path / "out"
    assert not is_unpacked(path, out)
    assert unpack(path, out) == [out / "a/b.csv", out / "c.csv"]
    assert (out / "a/b.csv").read_text() == "x,y\n"
    listed = pd.read_csv(contents(path))
    assert listed["bytes"].tolist() == [4, 1]
    assert listed["sha256"][1] == sha256(out / "c.csv")
    assert is_unpacked(path, out)
    (out / "c.csv").write_text("cut short? longer")
    assert not is_unpacked(path, out)


@pytest.mark.parametrize("bad", ["../evil.csv", "/etc/evil", "a/../../evil", "C:\\evil", "link"])
def test_nothing_is_unpacked_where_one_member_is_bad(packed, tmp_path, bad):
    with pytest.raises(InputError, match=r"inside its folder|holds a link"):
        unpack(packed({"fine.csv": "x", bad: "y"}), tmp_path / "deep/out")
    assert not (tmp_path / "deep").exists() and not (tmp_path / "evil.csv").exists()


def test_a_bomb_is_refused_before_it_goes_off(packed, tmp_path):
    with pytest.raises(InputError, match="over 100 times its size"):
        unpack(packed({"fine.csv": "x", "zeros": "0" * 3_000_000}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_small_disk_is_noticed_first(packed, tmp_path, monkeypatch):
    full = type("usage", (), {"free": 3})()
    monkeypatch.setattr("cpssl_lite.data.archives.shutil.disk_usage", lambda path: full)
    with pytest.raises(InputError, match=r"unpacks to .* GB free"):
        unpack(packed({"a": "four"}), tmp_path / "out")


@pytest.mark.parametrize("text", [b"PK\x03\x04 no", b"", b"<html>sign in</html>"])
def test_what_is_no_archive(tmp_path, text):
    (tmp_path / "b.zip").write_bytes(text)
    with pytest.raises(InputError, match="not a readable archive"):
        unpack(tmp_path / "b.zip", tmp_path / "out")


def test_damaged_members_leave_no_half_files(tmp_path):
    path = archive(tmp_path / "a.zip", {"a": "some text that is long enough to be cut" * 9})
    with zipfile.ZipFile(path) as zipped:
        start = zipped.infolist()[0].header_offset + 31
    raw = bytearray(path.read_bytes())
    raw[start + 5] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(InputError, match="not a readable archive"):
        unpack(path, tmp_path / "out")
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_dropbox_adds_a_folder_named_slash(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("/", "")
        zipped.writestr("embeddings/well_features.csv", "x")
    assert unpack(path, tmp_path / "out") == [tmp_path / "out/embeddings/well_features.csv"]
