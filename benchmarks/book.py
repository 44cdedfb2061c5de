"""What does the book cost? CPU seconds (user and system, with all child processes).

    python benchmarks/book.py [--chapters] [FOLDER]

A copy of the files that git knows is built from nothing by `cpssl book`, in a temporary folder or
in FOLDER, which must be new and stays; then once more with nothing changed. With --chapters the
steps are commands of their own, so that the table says where it goes; imports, which the chapters
of one command share, are then paid by each. Wall time says little on a busy machine; CPU seconds
say what a reader's machine has to do.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPSSL = str(Path(sys.executable).with_name("cpssl"))


def clock(folder: Path, *words: str) -> tuple[float, float]:
    """CPU and wall seconds of a command; it must succeed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([CPSSL, *words], cwd=folder, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"cpssl {' '.join(words)} failed:\n{done.stderr[-2000:]}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return cpu, wall


def main() -> None:
    """Build, and print a line for each step as it ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--chapters", action="store_true")
    given = parser.parse_args()
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    print(f"{'step':<30}{'CPU s':>8}{'wall s':>8}")
    with tempfile.TemporaryDirectory() as name:
        folder = (given.folder or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=not given.folder)
        for file in filter(None, files.split("\0")):
            if (ROOT / file).is_file():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, folder / file)
        # The copy's own package, as in a fresh clone.
        os.environ["PYTHONPATH"] = str(folder)
        steps: dict[str, tuple[str, ...]] = {"cpssl book, from nothing": ("book",)}
        if given.chapters:
            chapters = sorted(path.stem for path in (folder / "notebooks").glob("*.py"))
            steps = {"draw the screen": ("data", "simulate", "lite")}
            steps |= {chapter: ("run", chapter, "--no-html") for chapter in chapters}
            steps |= {"render": ("book",)}
        total = [0.0, 0.0]
        for step, words in steps.items():
            took = clock(folder, *words)
            total = [a + b for a, b in zip(total, took, strict=True)]
            print(f"{step:<30}{took[0]:8.0f}{took[1]:8.0f}", flush=True)
        if given.chapters:
            print(f"{'all of it':<30}{total[0]:8.0f}{total[1]:8.0f}")
        print()
        weights = folder / "cpssl_lite" / "models" / "weights" / "dino_lite.safetensors"
        for step, words in {
            "cpssl book, nothing changed": ("book",),
            "cpssl inspect a checkpoint": ("inspect", str(weights)),
            "cpssl --help": ("--help",),
        }.items():
            cpu, wall = clock(folder, *words)
            print(f"{step:<30}{cpu:8.1f}{wall:8.1f}", flush=True)


if __name__ == "__main__":
    main()
