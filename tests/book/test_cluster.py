"""The page on clusters: its two-process example runs as it stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cpssl_lite.profiles.table import read_profiles

PAGE = Path(__file__).parents[2] / "book" / "cluster.md"


@pytest.mark.slow
def test_the_two_process_example_runs(tmp_path):
    block = re.search(r"```bash\n(cpssl data.*?)```", PAGE.read_text(), re.S).group(1)
    for line in block.strip().splitlines():
        command = [str(Path(sys.executable).with_name("cpssl")), *shlex.split(line)[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["raw.parquet"]
    assert read_profiles(tmp_path / "raw.parquet")["Metadata_Plate"].nunique() == 4
    assert not (tmp_path / "raw.parquet.plates").exists()
