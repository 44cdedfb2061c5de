"""What is typed behind an option or a parameter: the value that is meant, or one line."""

import io

import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.percent import Parameter, check_parameters
from cpssl_lite.data.plan import plan
from cpssl_lite.profiles.find import name_genes
from tests.cases.tables import wells

LONG = "9" * 5000
INSIDE = {
    "a number for a path": ("profiles", '{"a": 1}', "a must be text, got 1"),
    "yes among paths": ("profiles", '{"a": ["b", true]}', "a: item 2 must be text, got True"),
    "nothing for a path": ("checkpoints", '{"a": null}', "a must be text, got None"),
    "a word among seeds": ("seeds", '[0, "x"]', "item 2 must be a whole number, got 'x'"),
    "half a seed": ("seeds", "[0.5]", "item 1 must be a whole number, got 0.5"),
    "yes among seeds": ("seeds", "[true]", "item 1 must be a whole number, got True"),
    "nothing among names": ("names", "[null]", "item 1 must be text, got None"),
    "lists in a list": ("names", '[["a"]]', r"item 1 must be text, got \['a'\]"),
}
DEFAULTS = {"profiles": {}, "checkpoints": {}, "seeds": [0, 1], "names": [], "seed": 0, "low": 0.1}


def allowed():
    return {name: Parameter(name, default, "") for name, default in DEFAULTS.items()}


@pytest.mark.parametrize("what", INSIDE)
def test_what_is_in_a_list_or_dictionary_is_looked_at(what):
    """It went into the chapter, which ended in a traceback."""
    name, text, message = INSIDE[what]
    with pytest.raises(InputError, match=rf"x\.py: parameter {name}: {message}"):
        check_parameters({name: text}, allowed(), "x.py")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("profiles", '{"a": "b.csv", "c": ["d", "e"]}', {"a": "b.csv", "c": ["d", "e"]}),
        ("profiles", '{"a": {"b": 1}}', {"a": {"b": 1}}),
        ("seeds", '[3, "4"]', [3, 4]),
        ("names", "[]", []),
        ("names", '["5", "none", 6]', ["5", "none", 6]),
    ],
)
def test_what_fits_is_taken(name, text, value):
    assert check_parameters({name: text}, allowed(), "x.py") == {name: value}


@pytest.mark.parametrize("name", ["seed", "low", "seeds", "profiles"])
@pytest.mark.parametrize("text", [LONG, f"[{LONG}]", "[" * 100_000])
def test_values_that_no_parser_takes(name, text):
    """Python reads no number of more than 4,300 digits, and no deeper lists than it can."""
    with pytest.raises(InputError, match=f"parameter {name}.* must be ") as error:
        check_parameters({name: text}, allowed(), "x.py")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("text", [LONG, f"-{LONG}", f'{{"a": {LONG}}}'])
def test_screens_of_thousands_of_digits(tmp_path, cpssl, text):
    words = ["data", "simulate", "tiny", "-o", tmp_path / "s", "-p", f"rows={text}"]
    code, _, said = cpssl(*words)
    assert code == 2 and said.startswith("cpssl: screen tiny: rows must be a number, got '")
    assert len(said) < 3100 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["plates", "wells", "sites"])
@pytest.mark.parametrize("text", ["", ",", " , ,"])
def test_names_that_are_none(tmp_path, cpssl, option, text):
    """A comma was a plate without a name."""
    words = ["data", "fetch", "jump_target2", "-o", tmp_path, "--dry-run", f"--{option}", text]
    code, said, wrong = cpssl(*words)
    message = f"--{option} {text!r}: is empty; give names with commas between"
    assert (code, said, wrong) == (2, "", f"cpssl: {message}\n")


@pytest.mark.parametrize("most", ["nan", "-1", "0"])
def test_a_limit_that_is_none_asks(tmp_path, cpssl, monkeypatch, most):
    """Nobody is there to answer; with nan it was fetched without a question."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, said, wrong = cpssl("data", "fetch", "cpjump1_examples", "-o", tmp_path, "--max-gb", most)
    assert code == 130 and "Fetch it?" in said + wrong and not list(tmp_path.iterdir())


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b'Metadata_Plate\n"'])
def test_a_damaged_table_of_what_was_fetched_is_fetched_again(tmp_path, data):
    (tmp_path / "load_data.csv").write_bytes(data)
    assert not plan("cpg0012_bioactives", tmp_path, plates=["24277"]).complete


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"\xff\xfe\x00", "UTF-8"),
        ("a.csv.gz", b"\x1f\x8b\x08\x00", "not a readable table"),
        ("a.csv", b"", "is empty"),
        ("b.csv", None, "no such table of genes"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
def test_a_table_of_genes_that_is_none(tmp_path, name, data, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"{name}.*{message}"):
        name_genes(wells(), tmp_path / name)
