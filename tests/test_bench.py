"""`make bench`: one script that fails loses no table, neither its own nor another's."""

import shutil
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parents[1] / "benchmarks" / "_run.py"


def test_a_failing_script_loses_no_table(tmp_path):
    shutil.copy(RUN, tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "breaks.txt").write_text("its old table")
    (tmp_path / "breaks.py").write_text("print('half a table')\nraise SystemExit('no')\n")
    (tmp_path / "asks.py").write_text("import sys\nprint('usage', file=sys.stderr)\n")
    (tmp_path / "works.py").write_text("print('speed 7')\n")
    command = [sys.executable, str(tmp_path / "_run.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1 and "failed, their old tables stay: breaks.py" in done.stderr
    assert (tmp_path / "results" / "breaks.txt").read_text() == "its old table"
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == ["breaks.txt", "works.txt"]
    date, machine, versions, said, *table = (
        (tmp_path / "results" / "works.txt").read_text().splitlines()
    )
    assert len(date) == 10 and "cores" in machine and "torch" in versions
    assert said == "python works.py" and table == ["", "speed 7"]

    done = subprocess.run([*command, "nothing"], capture_output=True, text=True, timeout=200)
    assert (
        done.returncode == 1
        and "no such benchmark: nothing.py; there are asks, breaks" in done.stderr
    )
