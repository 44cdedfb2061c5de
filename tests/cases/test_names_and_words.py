"""Names that mean something to matplotlib, words that papermill hands over, channels of zeros."""

import io

import numpy as np
import pandas as pd
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.made import Recipe
from cpssl_lite.book.figures import in_legend, style
from cpssl_lite.data.qc import quality
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import write_merged
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.plates import plates_of
from tests.cases.tables import load_data, saved
from tests.profiles.toy import Moments

SOURCE = """# %% tags=["parameters"]
profiles = {}  # tables
seed = 0  # of all
share = 0.5
names = ["a"]
flag = False
data = "lite"
# %%
found = (profiles, seed, share, names, flag, data)
"""


@pytest.mark.parametrize(
    "name", ["a$b^c$_{", "$x_", r"$\frac{$", "cost_$5^2$", "50% $ or _^", "_mine", "_"]
)
def test_names_are_drawn_as_text(name):
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        style()
        figure = Figure()
        axes = figure.subplots()
        axes.plot([1, 2], label=in_legend(name))
        axes.set(title=name, xlabel=name)
        axes.set_yticks([1, 2], [name, "x"])
        axes.annotate(name, (1, 1))
        legend = axes.legend()
        figure.savefig(io.BytesIO(), format="png")
        texts = [axes.xaxis.label, axes.get_yticklabels()[0], *legend.get_texts(), *axes.texts]
        assert [text.get_text().strip("\u200b") for text in texts] == [name] * 4
        assert not any(text.get_parse_math() for text in texts)


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """What the cells of a chapter see when plain papermill hands these over."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/01_x.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return lambda **given: _ran("notebooks/01_x.py", given)


def _ran(path, given):
    notebook = load_notebook_node(path)
    space = {}
    for cell in parameterize_notebook(notebook, given).cells:
        exec(cell.source, space)
    return space["found"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"profiles": '{"Mine": "a.csv"}'}, ({"Mine": "a.csv"}, 0, 0.5, ["a"], False, "lite")),
        ({"names": '["b", "c"]', "seed": "7"}, ({}, 7, 0.5, ["b", "c"], False, "lite")),
        ({"profiles": {"A": ["x"]}, "share": 1}, ({"A": ["x"]}, 0, 1.0, ["a"], False, "lite")),
        ({"flag": "true", "data": "{1}"}, ({}, 0, 0.5, ["a"], True, "{1}")),
        ({}, ({}, 0, 0.5, ["a"], False, "lite")),
    ],
)
def test_text_of_plain_papermill_becomes_what_the_parameter_is(ran, given, expected):
    assert ran(**given) == expected


@pytest.mark.parametrize("given", [{"profiles": "a.csv"}, {"names": "{}"}, {"seed": "x"}])
def test_text_that_is_no_such_thing_is_one_line(ran, given):
    name = next(iter(given))
    with pytest.raises(InputError, match=rf"01_x\.py: parameter {name} must be .*, got "):
        ran(**given)


@pytest.mark.parametrize(
    ("channels", "value"), [(["Mito"], 0), (["DNA"], 0), (["RNA", "ER"], 0), (["AGP"], 65535)]
)
def test_a_channel_with_nothing_in_it_is_flagged(tmp_path, channels, value):
    order = ("Mito", "AGP", "RNA", "ER", "DNA")
    rows = []
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 9000, (5, 64, 64), dtype=np.uint16)
        pixels[:, 20:30, 20:30] += 30000
        if i == 1:
            pixels[[order.index(name) for name in channels]] = value
        write_merged(tmp_path / f"{i}.tif", pixels, 0.3)
        well = {"Metadata_Plate": "P", "Metadata_Well": f"A0{i + 1}"}
        rows.append(well | {"FileName_Merged": f"{i}.tif"})
    table = saved(pd.DataFrame(rows), tmp_path / "images.csv")
    quality(table, tmp_path / "qc.html", workers=1)
    flags = pd.read_csv(tmp_path / "qc.csv", keep_default_na=False)["flag"]
    assert flags[1] == f"nothing in {', '.join(channels)}: one value all over"
    assert not any("nothing in" in flag for flag in flags[[0, 2]])


@pytest.mark.parametrize(
    "plates",
    [("P1", "p1"), ("a b", "a_b"), ("BR/01", "BR:01"), ("..P", "P"), ("ä", "ö"), ("x" * 300, "y")],
)
def test_plates_whose_names_a_file_system_takes_for_one(tmp_path, plates):
    """Each has files of its own while it is extracted, also where case does not count."""
    table = load_data(tmp_path, plates=("first", "second"), wells=("A01",))
    images = read_image_table(saved(table, tmp_path / "a.csv"))
    alone = extract(images, Moments(), tmp_path / "a.parquet")
    images = read_image_table(saved(table.assign(Metadata_Plate=plates), tmp_path / "b.csv"))
    got = pd.read_parquet(extract(images, Moments(), tmp_path / "b.parquet"))
    wanted = pd.read_parquet(alone).set_index("Metadata_Plate").filter(like="emb_")
    found = got.set_index("Metadata_Plate").filter(like="emb_")
    for plate, name in zip(plates, ("first", "second"), strict=True):
        pd.testing.assert_series_equal(found.loc[plate], wanted.loc[name], check_names=False)
    parts = [
        part.file.name.casefold() for part in plates_of(images, tmp_path, Recipe("x", {}, {}, ""))
    ]
    assert len(set(parts)) == 2 and all(len(part) < 200 for part in parts)
