"""Extraction by several processes, killed, repeated, of many fields: always the same table."""

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from lightning.fabric.utilities.exceptions import MisconfigurationException

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import write_merged
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.table import read_profiles
from tests.profiles.toy import Moments, write_screen

RUN = """
import sys
from cpssl_lite.images.table import read_image_table
from cpssl_lite.profiles.extract import extract
from tests.profiles.toy import Moments

table, out = sys.argv[1:3]
extract(read_image_table(table), Moments(), out, device="cpu", devices=2, batch_size=64)
"""


def start(table, out, **environment):
    """One of two processes that share a table, or Lightning's first, which starts the other."""
    script = Path(out).with_suffix(".py")  # Lightning starts it again, so it must be a file
    script.write_text(RUN)
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, script, table, out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root, **environment},
    )


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def as_slurm(table, out):
    """Two tasks as srun starts them."""
    common = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "extract", "SLURM_NTASKS": "2"}
    common |= {"SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}
    common |= {"SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [{"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in range(2)]
    return [start(table, out, **common, **rank) for rank in ranks]


@pytest.mark.slow
@pytest.mark.parametrize(
    "launch", [lambda table, out: [start(table, out)], as_slurm], ids=["lightning", "slurm"]
)
def test_two_processes_make_the_table_of_one(tmp_path, launch):
    screen = write_screen(tmp_path, ["P1", "P2", "P3"])  # one process has two of them
    extract(read_image_table(screen), Moments(), tmp_path / "one.parquet")
    for process in launch(screen, tmp_path / "two.parquet"):
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said[-2000:]
    one, two = (read_profiles(tmp_path / f"{n}.parquet") for n in ("one", "two"))
    assert len(one) == 9
    pd.testing.assert_frame_equal(one, two)
    assert not (tmp_path / "two.parquet.plates").exists()


def test_more_processes_than_gpus_is_one_line(screen, tmp_path, monkeypatch):
    def one_gpu(**_):
        raise MisconfigurationException(
            "You requested gpu: [0, 1]\n But your machine only has: [0]"
        )

    monkeypatch.setattr("lightning.fabric.Fabric", one_gpu)
    with pytest.raises(InputError, match=r"--devices 2 --nodes 1 cannot run \(.* only has: \[0\]"):
        extract(read_image_table(screen), Moments(), tmp_path / "o.parquet", devices=2)


def slowly(table, out, ready):
    """A tenth of a second for a plate, and as long to write each half of a file."""
    whole, forward = pq.write_table, Moments.forward

    def in_halves(data, path, **options):
        whole(data, path, **options)
        content = Path(path).read_bytes()
        with open(path, "wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            time.sleep(0.1)
            file.write(content[len(content) // 2 :])

    pq.write_table = in_halves
    Moments.forward = lambda self, crops: (time.sleep(0.1), forward(self, crops))[1]
    images = read_image_table(table)
    ready.set()
    extract(images, Moments(), out, device="cpu", batch_size=64)


@pytest.mark.slow
def test_killed_runs_leave_whole_files_and_go_on(tmp_path):
    screen = write_screen(tmp_path, [f"P{i:02d}" for i in range(20)])
    extract(read_image_table(screen), Moments(), tmp_path / "one.parquet")
    out = tmp_path / "out" / "killed.parquet"
    out.parent.mkdir()
    parts = out.with_name(out.name + ".plates")
    finished = {}
    # Processes from a server that has torch and the package already: they start at once.
    fresh = get_context("forkserver")
    fresh.set_forkserver_preload([__name__])
    for moment in np.random.default_rng().uniform(0.1, 0.8, 3):  # a run takes 4 s and more
        ready = fresh.Event()
        process = fresh.Process(target=slowly, args=(screen, out, ready))
        process.start()
        assert ready.wait(100)
        time.sleep(moment)
        process.kill()  # SIGKILL
        process.join()
        assert process.exitcode == -9 and not out.exists()
        whole = {part: part.stat().st_mtime_ns for part in parts.glob("[!.]*")}
        assert finished.items() <= whole.items(), "finished plates stay as they are"
        assert all(len(pd.read_parquet(part)) == 3 for part in whole)
        finished = whole
    extract(read_image_table(screen), Moments(), out, device="cpu", batch_size=64)
    pd.testing.assert_frame_equal(read_profiles(tmp_path / "one.parquet"), read_profiles(out))
    assert sorted(path.name for path in out.parent.iterdir()) == ["killed.parquet"]


def test_fifty_times_the_fields_need_no_more_memory(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 60000, (5, 512, 512), dtype=np.uint16)
    write_merged(tmp_path / "field.tif", pixels, 0.1)  # 2.6 MB: 200 kept ones would show
    row = {"Metadata_Plate": "P", "Metadata_Well": "A01"}
    rows = pd.DataFrame([{**row, "FileName_Merged": str(tmp_path / "field.tif")}])
    script = """
import resource, sys
import pandas as pd
from cpssl_lite.profiles.embed import embed_fields
from tests.profiles.toy import Moments
rows = pd.read_json(sys.argv[1])
for times in (16, 800):
    embed_fields(pd.concat([rows] * times), [Moments()], (512, 512), batch_size=64)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    rows.to_json(tmp_path / "rows.json")
    command = [sys.executable, "-c", script, tmp_path / "rows.json"]
    root = Path(__file__).parents[2]
    few, many = map(int, subprocess.check_output(command, text=True, timeout=200, cwd=root).split())
    assert many < 1.1 * few


def test_two_runs_of_one_table_do_not_disturb_each_other(screen, tmp_path):
    images, out = read_image_table(screen), tmp_path / "out.parquet"
    networks = [Moments(), Moments()]
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(extract, images, network, out) for network in networks]:
            done.result()
    assert sorted(network.calls > 0 for network in networks) == [False, True]
