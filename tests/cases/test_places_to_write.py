"""Where results cannot go: said before any work, in one line that names the place, nothing lost."""

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile

import pandas as pd
import pytest

from cpssl_lite.base.caches import keep_caches
from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path, check_writable
from cpssl_lite.book.runner import run_notebook
from cpssl_lite.data.fetch import fetch
from cpssl_lite.data.prepare import prepare
from tests.cases.tables import load_data, saved, wells

CHAPTER = '# %% [markdown]\n# # A\n\n# %% tags=["parameters"]\nseed = 0\n\n# %%\nprint(seed)\n'


@pytest.fixture
def screen(tmp_path):
    """A folder with profiles, an image table of raw fields and one of merged ones."""
    folder = tmp_path / "given"
    saved(wells(), folder / "p.parquet")
    table = saved(load_data(folder / "images", shape=(160, 160)), folder / "images/load_data.csv")
    prepare(table, folder / "merged", workers=1)
    (folder / "chapter.py").write_text(CHAPTER)
    return folder


COMMANDS = {
    "normalize": ("p.parquet", "n.parquet"),
    "select": ("p.parquet", "n.parquet"),
    "evaluate": ("p.parquet", "m.json"),
    "extract": ("merged/images.parquet", "raw.parquet"),
    "measure": ("merged/images.parquet", "raw.parquet"),
    "data prepare": ("images/load_data.csv", "out"),
    "data qc": ("merged/images.parquet", "qc.html"),
    "run": ("chapter.py", "x.ipynb"),
}


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """A folder that nobody may write in, root neither."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        write, make = tempfile.NamedTemporaryFile, os.mkdir

        def refused(path):
            if str(path).startswith(str(folder)):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(
            tempfile, "NamedTemporaryFile", lambda *a, **k: refused(k.get("dir")) or write(*a, **k)
        )
        monkeypatch.setattr(os, "mkdir", lambda path, *a, **k: refused(path) or make(path, *a, **k))
    return folder


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("inside", ["", "new/"])
def test_a_read_only_place_is_named_before_the_work(screen, closed, cpssl, command, inside):
    given, out = COMMANDS[command]
    words = [*command.split(), screen / given, "-o", closed / f"{inside}{out}"]
    code, _, said = cpssl(*words)
    assert code == 2 and len(said.splitlines()) == 1
    assert "Permission denied" in said
    assert f"the folder {closed} is not yours to write in: name another place" in said
    assert not list(closed.iterdir())


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("run", "measure")])
def test_what_is_read_may_be_read_only(screen, tmp_path, cpssl, command):
    """Nothing is written beside it, and nothing of it is changed."""
    given, out = COMMANDS[command]

    def state():
        return {path: path.stat().st_mtime_ns for path in screen.rglob("*")}

    before = state()
    for path in screen.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    screen.chmod(0o555)
    null = ["--null", 100] if command == "evaluate" else []
    code, _, said = cpssl(*command.split(), screen / given, "-o", tmp_path / f"new/{out}", *null)
    for path in (screen, *screen.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    assert code == 0, said
    assert (tmp_path / "new" / out).exists() and state() == before


@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a pipe"])
def test_a_device_is_not_replaced_by_a_file(tmp_path, cpssl, kind):
    """As root `-o /dev/null` made a file of it."""
    path, target = tmp_path / "out.json", tmp_path / "target"
    if kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    else:
        os.mkfifo(path if kind == "pipe" else target)
        if kind == "link to a pipe":
            path.symlink_to(target)
    words = ["evaluate", saved(wells(), tmp_path / "p.csv"), "-o", path, "--null", 100]
    message = f"{path}: is no file but a device or a pipe"
    assert cpssl(*words)[::2] == (2, f"cpssl: {message}; give the name of a file\n")
    with pytest.raises(InputError, match="is no file but a device"), atomic_path(path):
        pass
    assert not path.is_file()


@pytest.mark.parametrize("name", ["null", "stdout", "full"])
def test_devices_are_refused(name):
    before = stat.S_IFMT(os.stat(f"/dev/{name}").st_mode)
    with pytest.raises(InputError, match=f"/dev/{name}: is no file but a device"):
        check_writable(f"/dev/{name}")
    assert stat.S_IFMT(os.stat(f"/dev/{name}").st_mode) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_in_the_place_of_the_result(screen, tmp_path, cpssl, command):
    given, out = COMMANDS[command]
    there = tmp_path / out / ("images.parquet" if command == "data prepare" else "")
    there.mkdir(parents=True)
    code, _, said = cpssl(*command.split(), screen / given, "-o", tmp_path / out)
    assert code == 2 and said == f"cpssl: {there}: is a folder; give the name of a file to write\n"


@pytest.mark.parametrize("inside", ["", "new/"])
@pytest.mark.parametrize("command", ["normalize", "evaluate", "extract", "data prepare"])
def test_a_file_in_the_place_of_the_folder(screen, tmp_path, cpssl, command, inside):
    """It said "File exists"."""
    given, out = COMMANDS[command]
    (tmp_path / "file").touch()
    code, _, said = cpssl(*command.split(), screen / given, "-o", tmp_path / f"file/{inside}{out}")
    assert code == 2 and said.count("\n") == 1
    assert f"({tmp_path / 'file'} is a file, not a folder)" in said


def test_a_run_does_not_begin_where_it_cannot_end(screen, tmp_path):
    """It began, and failed after the chapter was done."""
    (screen / "chapter.py").write_text(CHAPTER + f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "x.ipynb").mkdir()
    with pytest.raises(InputError, match=r"x\.ipynb: is a folder"):
        run_notebook(screen / "chapter.py", out=tmp_path / "x.ipynb")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("table", "out"),
    [("images.parquet", "images.parquet"), ("fields.csv", "fields.html"), ("a.csv", "a.csv")],
)
def test_quality_does_not_write_over_its_table(screen, cpssl, table, out):
    """The measures are written beside the page, under its name."""
    merged = screen / "merged"
    saved(pd.read_parquet(merged / "images.parquet"), merged / table)
    before = (merged / table).read_bytes()
    code, _, said = cpssl("data", "qc", merged / table, "-o", merged / out)
    assert code == 2
    assert said == f"cpssl: {merged / table}: is read as well; give another name to write to\n"
    assert (merged / table).read_bytes() == before


@pytest.mark.parametrize("command", ["normalize", "evaluate", "extract", "data prepare"])
def test_a_link_that_leads_to_itself(screen, tmp_path, cpssl, command):
    given, out = COMMANDS[command]
    loop = tmp_path / f"loop{os.path.splitext(given)[1]}"
    loop.symlink_to(loop)
    code, _, said = cpssl(*command.split(), loop, "-o", tmp_path / out)
    assert code == 2 and said.startswith(f"cpssl: {loop}: ") and len(said.splitlines()) == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("relative", [True, False])
def test_a_writer_may_name_the_file_from_the_root(tmp_path, monkeypatch, number, relative):
    """As tifffile does; a chapter, which works in its own folder, ended in a traceback."""
    monkeypatch.chdir(tmp_path)
    path = "a/out.tif" if relative else tmp_path / "a/out.tif"
    with pytest.raises(InputError, match=r"a/out\.tif: cannot be written .*name another place"):
        with atomic_path(path) as scratch:
            raise OSError(number, os.strerror(number), os.path.abspath(scratch))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_chapter_that_cannot_write_is_one_line(tmp_path, cpssl, number):
    source = tmp_path / "01_writes.py"
    raises = f"raise OSError({number}, 'no place', 'runs/standins')"
    source.write_text(f"# %% [markdown]\n# # Title\n# %%\n{raises}\n")
    code, _, said = cpssl("run", source, "-o", tmp_path / "out.ipynb", "--no-html")
    assert code == 2
    assert said == f"cpssl: 01_writes: [Errno {number}] no place: 'runs/standins'\n"


@pytest.mark.parametrize("mode", [0o700, 0o777, 0o770])
def test_caches_have_a_place_where_the_home_has_none(tmp_path, monkeypatch, mode):
    """Numba runs what it finds there: a folder in which others may write is not taken."""
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"cpssl-caches-{os.getuid()}"
    if mode != 0o700:
        folder.mkdir()
        folder.chmod(mode)
    keep_caches()
    taken = os.environ.pop("NUMBA_CACHE_DIR", None), os.environ.pop("MPLCONFIGDIR", None)
    wanted = (str(folder / "numba"), str(folder / "matplotlib"))
    assert taken == (wanted if mode == 0o700 else (None, None))
    assert stat.S_IMODE(folder.stat().st_mode) == mode


@pytest.mark.parametrize("home", ["there", "NUMBA_CACHE_DIR"])
def test_caches_that_have_a_place_stay_there(tmp_path, monkeypatch, home):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("MPLCONFIGDIR", "elsewhere")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path) if home == "there" else "/nonexistent")
    if home != "there":
        monkeypatch.setenv(home, "mine")
    keep_caches()
    assert os.environ.get("NUMBA_CACHE_DIR") == (None if home == "there" else "mine")
    assert os.environ["MPLCONFIGDIR"] == "elsewhere"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("about", ["", "out.ckpt", "/tmp/tmp_of_lightning"])
def test_a_full_disk_names_what_was_to_be_written(tmp_path, number, about):
    """Lightning copies a checkpoint from another place, and the error names that one."""
    names = [str(tmp_path / about) if about == "out.ckpt" else about] if about else []
    with pytest.raises(InputError, match=r"out\.ckpt: cannot be written .*; make room, or name"):
        with atomic_path(tmp_path / "out.ckpt"):
            raise OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize("out", ["n.h5ad", "n.parquet", "m.h5ad", "m.json"])
def test_a_disk_that_takes_no_more_is_no_crash(tmp_path, out):
    """HDF5 ended the process with a segmentation fault."""
    table = saved(wells(features=300), tmp_path / "p.parquet")
    step = ["normalize"] if out.startswith("n") else ["evaluate", "--null", "100"]
    step += ["--per", "perturbation"] if out == "m.h5ad" else []
    limited = (
        "import resource, signal, sys\n"
        "from cpssl_lite.cli.main import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))\n"
        "main()"
    )
    words = [*step, str(table), "-o", str(tmp_path / out)]
    made = subprocess.run([sys.executable, "-c", limited, *words], capture_output=True, text=True)
    assert made.returncode == 2, made.stderr[-500:]
    last = made.stderr.splitlines()[-1]
    assert last.startswith(f"cpssl: {tmp_path / out}: cannot be written (") and "Traceback" not in (
        made.stderr
    )
    assert {path.name for path in tmp_path.iterdir()} == {"p.parquet"}


def test_a_whole_read_only_data_set_is_taken_as_it_is(tmp_path, monkeypatch):
    """A cache that several share: nothing is missing, and nothing is written."""
    names = load_data(tmp_path / "source").filter(like="FileName_").columns
    rows = [
        {"path": f"{name}.tif", "url": f"http://127.0.0.1:9/{name}", "Metadata_Plate": "P1",
         "Metadata_Well": "A01", "Metadata_Site": "1", "Channel": name.removeprefix("FileName_")}
        for name in names
    ]  # fmt: skip
    index = pd.DataFrame(rows).assign(bytes=None, sha256=None)
    for row in rows:
        shutil.copy(next((tmp_path / "source").glob("*.tif")), tmp_path / row["path"])
    table = fetch(index, tmp_path)
    before = table.read_bytes()
    monkeypatch.setattr("cpssl_lite.data.fetch.atomic_path", pytest.fail)
    assert fetch(index, tmp_path) == table and table.read_bytes() == before


def test_a_read_only_folder_is_said_before_the_server_is_asked(tmp_path, closed):
    index = pd.DataFrame([{"path": f"{n}.tif", "url": f"http://127.0.0.1:9/{n}"} for n in "abc"])
    index = index.assign(bytes=None, sha256=None)
    with pytest.raises(InputError, match=f"the folder {closed} is not yours to write in"):
        fetch(index, closed / "new")
