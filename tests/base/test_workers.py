"""Work shared by processes: order, failures, workers of a killed command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.workers import in_processes

CODE = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from cpssl_lite.base.workers import end_with_parent
if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, mp_context=get_context("{}"), initializer=end_with_parent)
    print(*{{pool.submit(os.getpid).result() for _ in range(4)}}, flush=True)
    time.sleep(60)
"""


def double(job):
    if job == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * job


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_errors_through(workers):
    assert list(in_processes(double, [3, 1, 2], workers)) == [6, 2, 4]
    assert list(in_processes(double, [], workers)) == []
    with pytest.raises(TypeError):
        list(in_processes(double, [1, None, 2], workers))


def test_a_killed_worker_is_one_line():
    with pytest.raises(InputError, match=r"out of memory\?.*fewer workers"):
        list(in_processes(double, [1, "killed", 2], workers=2))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_end_with_a_killed_command(tmp_path, start):
    script = tmp_path / "command.py"
    script.write_text(CODE.format(start))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        workers = [f"/proc/{pid}/stat" for pid in run.stdout.readline().split()]
        assert workers
        run.kill()
    deadline = time.monotonic() + 10
    while (left := [w for w in workers if alive(w)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


INTERRUPTED = """
import time
from cpssl_lite.base.workers import in_processes
if __name__ == "__main__":
    try:
        for _ in in_processes(time.sleep, [0.01] * 4 + [90] * 2, workers=2):
            print(flush=True)
    except KeyboardInterrupt:
        print("stopped")
"""


def test_ctrl_c_is_answered_once_and_soon(tmp_path):
    script = tmp_path / "command.py"
    script.write_text(INTERRUPTED)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, script], text=True, start_new_session=True, **streams
    ) as run:
        for _ in range(4):
            run.stdout.readline()
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all of them
        printed, error = run.communicate(timeout=20)
    assert printed.split() == ["stopped"] and not error


def alive(stat: str) -> bool:
    try:
        return Path(stat).read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
