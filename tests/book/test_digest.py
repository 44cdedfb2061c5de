"""What an executed notebook depends on."""

from pathlib import Path

import pytest

from cpssl_lite.base.sources import behaviour_digest
from cpssl_lite.book.digest import (
    code_digest,
    data_digest,
    inputs_named,
    modules_used,
    notebook_recipe,
)


def package(folder: Path) -> Path:
    room = folder / "toy" / "room"
    room.mkdir(parents=True)
    (folder / "toy" / "__init__.py").write_text("")
    (folder / "toy" / "alone.py").write_text("")
    (room / "__init__.py").write_text("")
    (room / "a.py").write_text("def f():\n    from toy.room.b import g\n    return g\n")
    (room / "b.py").write_text("g = 1\n")
    (room / "card.yaml").write_text("x: 1\n")
    return folder / "toy"


def test_modules_are_followed_also_into_functions(tmp_path: Path) -> None:
    toy = package(tmp_path)
    used = {p.relative_to(toy).as_posix() for p in modules_used("from toy.room import a", toy)}
    assert used == {"__init__.py", "room/__init__.py", "room/a.py", "room/b.py", "room/card.yaml"}


def test_parameters_name_their_inputs(tmp_path: Path) -> None:
    (tmp_path / "data" / "lite").mkdir(parents=True)
    (tmp_path / "a.csv").write_text("1")
    values = {"screen": "lite", "tables": {"x": "a.csv"}, "empty": "", "seed": 1, "dot": "."}
    assert set(inputs_named(values, tmp_path)) == {"data/lite", "a.csv"}
    assert set(inputs_named({"tables": ["*.csv"]}, tmp_path)) == {"a.csv"}
    assert set(inputs_named({"tables": "a.csv, lite"}, tmp_path)) == {"data/lite", "a.csv"}
    plates = "a.csv," + ",".join(f"BR{number:08d}" for number in range(60))
    assert set(inputs_named({"plates": plates}, tmp_path)) == {"a.csv"}, "too long for a name"


def test_a_data_set_is_its_record_or_else_its_files(tmp_path: Path) -> None:
    (tmp_path / "image.tiff").write_text("1")
    before = data_digest(tmp_path)
    (tmp_path / "image.tiff").write_text("12")
    assert data_digest(tmp_path) != before
    (tmp_path / "dataset.yaml").write_text("images_sha256: abc\n")
    recorded = data_digest(tmp_path)
    (tmp_path / "cache.parquet").write_text("x")
    assert data_digest(tmp_path) == recorded


def test_source_and_parameters_change_the_digest(tmp_path: Path) -> None:
    def digest(source: str, seed: int) -> str:
        return notebook_recipe(source, {"seed": seed}, tmp_path).digest

    one = digest("x = 1", 1)
    assert one == digest("x = 1", 1)
    assert len({one, digest("x = 2", 1), digest("x = 1", 2)}) == 3


def test_a_behaviour_is_not_its_comments_and_docstrings(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    texts = [
        "def f():\n    return 1\n",
        '"""Module.\n\nMore."""\n\n\n# why\ndef f():\n    """Function."""\n\n    return 1\n',
        'def f():\n    return """2"""\n',
    ]
    digests = []
    for text in texts:
        file.write_text(text)
        digests.append(behaviour_digest([file]))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("x = '\"'  # it's one", "x = '\"'", True),
        ('x = r"\\\\"  # one', 'x = r"\\\\"', True),
        ('x = """one\n"# two\n"""  # three', 'x = """one\n"# two\n"""', True),
        ("x = '# one'", "x = '# two'", False),
        ('x = f"{1}\'# one"', 'x = f"{1}\'# two"', False),
        ('x = """\\""" # one"""', 'x = """\\""" # two"""', False),
    ],
)
def test_a_hash_in_a_text_begins_no_comment(
    tmp_path: Path, first: str, second: str, same: bool
) -> None:
    (tmp_path / "a.py").write_text(first)
    (tmp_path / "b.py").write_text(second)
    one, other = (behaviour_digest([tmp_path / name]) for name in ("a.py", "b.py"))
    assert (one == other) == same


def test_manifests_change_the_digest_of_a_page_that_shows_them(tmp_path: Path) -> None:
    (tmp_path / "data_manifests").mkdir()
    shows, not_ = "from cpssl_lite.data.manifests import list_manifests", "x = 1"
    before = [code_digest(source, tmp_path) for source in (shows, not_)]
    (tmp_path / "data_manifests" / "a.yaml").write_text("title: a")
    after = [code_digest(source, tmp_path) for source in (shows, not_)]
    assert before[0] != after[0] and before[1] == after[1]
