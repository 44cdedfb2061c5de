"""The rooms of the package: arrows between them go one way, and nothing lies at the root."""

import ast
import subprocess
import tomllib
from pathlib import Path

import pytest

from cpssl_lite import __version__

PACKAGE = Path(__file__).parents[1] / "cpssl_lite"
# What each room may use besides itself and `base`.
MAY_USE: dict[str, set[str]] = {
    "base": set(),
    "metrics": set(),
    "images": set(),
    "models": {"images"},
    "profiles": {"images", "models", "metrics"},
    "data": {"images", "profiles"},
    "bioactivity": {"images", "models", "profiles", "metrics"},
    "book": {"images", "models", "profiles", "metrics", "data", "bioactivity"},
    "cli": {"images", "models", "profiles", "metrics", "data", "bioactivity", "book"},
}
# What lies at the repository's root; a test or a trial that writes there leaves other names.
TOP = set(
    ".ci .github .gitignore .pre-commit-config.yaml CHANGELOG.md CITATION.cff CONTRIBUTING.md "
    "LICENSE Makefile README.md _config.yml benchmarks book cpssl_lite data_manifests "
    "environment.yml notebooks postBuild pyproject.toml tests".split()
)


def rooms_used(source: str) -> set[str]:
    """Rooms that a file imports from, inside functions too."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are written out in full"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == PACKAGE.name and len(part) > 1}


def test_nothing_lies_beside_the_repositorys_own_files() -> None:
    root = PACKAGE.parent
    if not (root / ".git").exists():
        pytest.skip("needs a git checkout")
    files = ["git", "ls-files", "-z"]
    listed = subprocess.run(files, cwd=root, capture_output=True, text=True, check=True).stdout
    assert {file.split("/")[0] for file in listed.split("\0") if file} == TOP


def test_the_root_holds_one_file_and_rooms_with_a_line_each() -> None:
    assert [path.name for path in PACKAGE.glob("*.py")] == ["__init__.py"]
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(MAY_USE)
    for room in rooms:
        said = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
        assert said and "\n" not in said, room


def test_no_file_is_longer_than_300_lines() -> None:
    length = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path: n for path, n in length.items() if n > 300} == {}


@pytest.mark.parametrize("room", MAY_USE)
def test_arrows_go_one_way(room: str) -> None:
    allowed = MAY_USE[room] | {room, "base", "__version__"}
    for path in (PACKAGE / room).rglob("*.py"):
        assert rooms_used(path.read_text()) <= allowed, path


def test_an_arrow_against_the_order_is_seen() -> None:
    assert rooms_used("def f():\n    from cpssl_lite.book.html import cell") == {"book"}


def test_the_page_that_draws_the_rooms_names_them_all() -> None:
    page = (PACKAGE.parent / "book" / "built.md").read_text()
    drawing = page[page.index("<svg") : page.index("</svg>")]
    assert all(f">{room}" in drawing for room in MAY_USE)


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert f"version: {__version__}\n" in (PACKAGE.parent / "CITATION.cff").read_text()
