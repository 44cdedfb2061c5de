"""Whole files or none."""

import errno
import platform
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cpssl_lite.base import files
from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path, check_writable, sha256


def test_a_failing_block_leaves_the_old_file(tmp_path):
    file = tmp_path / "table.txt"
    file.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(file) as scratch:
        scratch.write_text("half of the n")
        raise RuntimeError("killed")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.txt"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"table.txt: cannot be written .*No space left"):
        with atomic_path(tmp_path / "table.txt") as scratch:
            scratch.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_removed(tmp_path):
    write = (
        "import os, sys; from cpssl_lite.base.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as scratch: scratch.touch(); os.kill(os.getpid(), 9)"
    )
    file, other = tmp_path / "a[1].txt", tmp_path / "a1.txt"
    for path in (file, other):
        subprocess.run([sys.executable, "-c", write, path], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_path(file) as scratch:
        scratch.write_text("whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert "a[1].txt" in left and len(left) == 2, "the other file's stays until it is written"


def test_two_threads_write_one_file_whole(tmp_path):
    def write(text):
        for _ in range(50):
            with atomic_path(tmp_path / "a.txt") as scratch:
                scratch.write_text(text)
                barrier.wait()  # both are writing now

    barrier = threading.Barrier(2)
    texts = "x" * 1000, "y" * 1000
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(write, text) for text in texts]:
            done.result()
    assert (tmp_path / "a.txt").read_text() in texts
    assert len(list(tmp_path.iterdir())) == 1


def test_on_windows_no_process_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("os.kill", lambda *_: pytest.fail("that would end the process"))
    (tmp_path / f".a.{platform.node()}.123-4.partial.txt").touch()
    with monkeypatch.context() as windows:
        windows.setattr(files.os, "name", "nt")
        files._clear(tmp_path / "a.txt")


def test_errors_about_other_files_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out.txt"):
        (tmp_path / "input.txt").read_text()


def test_unwritable_places_are_named(tmp_path):
    (tmp_path / "file").touch()
    for bad in (tmp_path / "file" / "out.txt", tmp_path):
        with pytest.raises(InputError, match=str(bad)):
            check_writable(bad)
    check_writable(tmp_path / "new" / "out.txt")
    assert not list((tmp_path / "new").iterdir())


def test_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_the_check_leaves_the_scratch_file_of_a_writer_alone(tmp_path):
    with atomic_path(tmp_path / "a.txt") as scratch:
        scratch.write_text("half")
        check_writable(tmp_path / "a.txt")
        assert scratch.read_text() == "half"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_one_writer_at_a_time_and_no_lock_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    inside, most = [], []

    def work(_):
        with files.one_writer(tmp_path / "table.parquet"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.001)
            inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert len(most) == 200 and max(most) == 1
    assert not list(tmp_path.iterdir())
