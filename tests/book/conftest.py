"""A small book: the real prose, and stand-ins that draw in seconds for the real notebooks."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jupytext
import pytest
import yaml
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).parent / "data"

# What a stand-in draws where the real notebook has a figure.
DRAW = "import matplotlib.pyplot as plt\nplt.figure(figsize=(6.4, 3)); plt.plot([1, 2, 1]);"
# One with words that the run computes (chapter.py), by its name.
SHOWN = re.compile(r"""\bshow\(.*?"(fig-[\w-]+)\"""", re.DOTALL)
SHOW = """
from cpssl_lite.book.chapter import show
show(plt.gcf(), "{}", "simulated", caption="Three points.", alt="A line through three points")
"""


@pytest.fixture(autouse=True)
def plain_figures() -> None:
    """No test sees the style of figures that one before it set."""
    if figures := sys.modules.get("matplotlib"):
        figures.rc_file_defaults()


def stand_in(source: Path, target: Path) -> None:
    """Keep a notebook's text, headings, labels, captions and alt texts; drop its work."""
    notebook = jupytext.read(source, fmt="py:percent")
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and "figure" in cell.metadata.get("mystnb", {}):
            cell.source = DRAW
        elif cell.cell_type == "code" and (shown := SHOWN.search(cell.source)):
            cell.source = DRAW + SHOW.format(shown[1])
        elif cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            continue
        cells.append(cell)
    notebook.cells = cells
    jupytext.write(notebook, target, fmt="py:percent")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with nothing in it but the two folders that make it one."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").mkdir()
    shutil.copy(DATA / "claims.yml", tmp_path / "book" / "claims.yml")
    copy_editions(tmp_path)
    return tmp_path


def copy_editions(root: Path) -> None:
    """The default edition alone: others name chapters that a small repository does not have."""
    (root / "book" / "editions").mkdir()
    for file in ("lite.yml", "schema.json"):
        shutil.copy(ROOT / "book" / "editions" / file, root / "book" / "editions")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that is made once for all workers of pytest-xdist; tests only read it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a failed try left
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def small_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the real configuration and prose, and stand-ins for notebooks."""
    return once(tmp_path_factory, "small", make_small_root)


def make_small_root(root: Path) -> None:
    root.mkdir()
    shutil.copy(ROOT / "_config.yml", root)
    shutil.copytree(
        ROOT / "book", root / "book", ignore=shutil.ignore_patterns("executed", "_build")
    )
    shutil.copy(DATA / "claims.yml", root / "book" / "claims.yml")
    (root / "notebooks").mkdir()
    shutil.copy(DATA / "99_demo.py.txt", root / "notebooks" / "99_demo.py")
    toc = yaml.safe_load((root / "book" / "_toc.yml").read_text())
    chapters = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    for name in (Path(c).name for c in chapters if c.startswith("chapters/")):
        stand_in(ROOT / "notebooks" / f"{name}.py", root / "notebooks" / f"{name}.py")
    toc["parts"][0]["chapters"].append({"file": "chapters/99_demo"})
    (root / "book" / "_toc.yml").write_text(yaml.safe_dump(toc))


def make_tiny_root(root: Path, small_root: Path, chapters: dict[str, str]) -> Path:
    """A repository of chapters with one cell each (by name), and a first page."""
    (root / "notebooks").mkdir()
    (root / "book").mkdir()
    copy_editions(root)
    shutil.copy(small_root / "_config.yml", root)
    for file in ("claims.yml", "references.bib"):
        shutil.copy(small_root / "book" / file, root / "book")
    (root / "book" / "_static").mkdir()
    for path in (small_root / "book" / "_static").glob("*.*"):
        shutil.copy(path, root / "book" / "_static")
    words = "Some words to read. " * 10
    for name, code in chapters.items():
        if 'tags=["parameters"]' not in code:
            code = f'# %% tags=["parameters"]\nseed = 0  # of nothing\n\n# %%\n{code}'
        text = f"# %% [markdown]\n# # A chapter: {name}\n#\n# {words}\n\n{code}\n"
        (root / "notebooks" / f"{name}.py").write_text(text)
    files = "".join(f"  - file: chapters/{name}\n" for name in chapters)
    (root / "book" / "_toc.yml").write_text(f"format: jb-book\nroot: index\nchapters:\n{files}")
    (root / "book" / "index.md").write_text(
        f"# First\n\n```{{include}} _made/box.md\n```\n\n{words}\n"
    )
    return root


@pytest.fixture(scope="session")
def small_book(small_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small book, rendered: the folder with index.html."""
    from cpssl_lite.book.build import build
    from cpssl_lite.book.editions import load_edition
    from cpssl_lite.book.runner import run_all

    def make(folder: Path) -> None:
        results = run_all(root=small_root, workers=2)
        assert [r.message for r in results if r.status == "failed"] == []
        build(folder / "book", small_root, edition=load_edition(root=small_root))

    return once(tmp_path_factory, "html", make) / "book"


@pytest.fixture(scope="session")
def cpssl_book() -> Callable[[Path], None]:
    """Build the whole book of a copy of the repository, by the command."""

    def build(root: Path) -> None:
        command = [Path(sys.executable).parent / "cpssl", "book", "--strict"]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        environment.pop("OMP_NUM_THREADS", None)  # small tests' one thread
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]

    return build


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two copies of this repository's files as they are now, nothing built in them."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    first, second = (tmp_path_factory.mktemp(name) for name in ("first", "second"))
    for root in (first, second):
        for file in filter(None, files.split("\0")):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, root / file)
    return first, second


@pytest.fixture(scope="session")
def whole_root(copies: tuple[Path, Path], cpssl_book: Callable[[Path], None]) -> Path:
    """A copy of the repository in which the whole book was built from nothing."""
    cpssl_book(copies[0])
    return copies[0]


@pytest.fixture(scope="session")
def second_root(
    whole_root: Path, copies: tuple[Path, Path], cpssl_book: Callable[[Path], None]
) -> Path:
    """The same once more, after the first."""
    cpssl_book(copies[1])
    return copies[1]


@pytest.fixture(scope="session", params=["small", pytest.param("whole", marks=pytest.mark.whole)])
def book(request: pytest.FixtureRequest) -> Path:
    """A rendered book: the small one or the whole one."""
    if request.param == "small":
        return request.getfixturevalue("small_book")
    return request.getfixturevalue("whole_root") / "html" / "lite"
