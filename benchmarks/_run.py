"""Run every benchmark, or those named, and keep what they print in benchmarks/results/.

    python benchmarks/_run.py [NAME ...]

Each file starts with the date, the machine and the versions; the timing chapter shows them.
"""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch

from cpssl_lite.base.files import atomic_path
from cpssl_lite.base.provenance import versions

HERE = Path(__file__).parent


def machine() -> str:
    """Processor, cores and GPU."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    gpu = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    return f"{cpu}, {os.cpu_count()} cores{gpu}"


def main() -> None:
    """Run; a script that fails keeps its old table and fails this run at the end."""
    scripts = [HERE / f"{name}.py" for name in sys.argv[1:]] or sorted(HERE.glob("[!_]*.py"))
    missing = [script.name for script in scripts if not script.is_file()]
    if missing:
        known = ", ".join(sorted(script.stem for script in HERE.glob("[!_]*.py")))
        sys.exit(f"no such benchmark: {', '.join(missing)}; there are {known}")
    failed = []
    for script in scripts:
        print(f"== {script.name}", flush=True)
        said = []
        command = [sys.executable, "-u", str(script)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                said.append(line)
        if process.returncode:
            failed.append(script.name)
        if process.returncode or not said:  # one that needs arguments says nothing
            continue
        named = ", ".join(f"{name} {version}" for name, version in versions().items())
        head = [f"{datetime.now(UTC):%Y-%m-%d}", machine(), named, f"python {script.name}", ""]
        with atomic_path(HERE / "results" / f"{script.stem}.txt") as scratch:
            scratch.write_text("\n".join(head) + "\n" + "".join(said))
    if failed:
        sys.exit(f"failed, their old tables stay: {', '.join(failed)}")


if __name__ == "__main__":
    main()
