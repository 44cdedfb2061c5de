"""What a chapter shows, and where its page puts it."""

import json
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.book import chapter, panels, plots
from cpssl_lite.book.arrange import ELSEWHERE, EXPLORER, KEY, arrange, read_executed, write_arranged
from cpssl_lite.book.chapter import ask, frame_table, note, show
from cpssl_lite.book.claims import MIME
from cpssl_lite.book.html import table
from cpssl_lite.book.sphinx_offline import add_links


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, object]]:
    """What cells would display, with its metadata."""
    seen: list[tuple[object, object]] = []
    monkeypatch.setattr(chapter, "_display", lambda what, words=None: seen.append((what, words)))
    return seen


def test_a_figure_is_shown_once_tagged_and_closed(shown: list[tuple[object, object]]) -> None:
    figure, _ = plt.subplots()
    show(figure, "fig-x", "CPJUMP1", caption="Two\n points.", alt="Points")
    words = {"name": "fig-x", "caption": "Two points.", "alt": "Points", "data": "CPJUMP1"}
    assert shown == [(figure, {"figure": words})]
    assert figure.get_supxlabel() == "real data: CPJUMP1"
    assert not plt.fignum_exists(figure.number)
    drawing, _ = plt.subplots()
    show(drawing, "fig-y", "", caption="A drawing.", alt="A drawing")
    assert drawing.get_supxlabel() == ""
    with pytest.raises(InputError, match="figure 'fig-z': has no caption and no alt"):
        show(figure, "fig-z", "", caption=" ", alt="")


@pytest.mark.parametrize(
    ("data", "left"),
    [("simulated", ["of both", "of drawn"]), ("CPJUMP1", ["of both", "of real"])],
)
def test_a_page_keeps_what_is_said_of_its_own_data(data: str, left: list[str]) -> None:
    words = {"name": "fig-x", "caption": "Points.", "alt": "Points", "data": data}
    figure = {"data": {"image/png": ""}, "metadata": {KEY: {"figure": words}}}
    cells = [
        {"cell_type": "markdown", "source": f"of {kind}", "metadata": {"tags": [kind]}}
        for kind in ("both", "drawn", "real")
    ]
    code = {"cell_type": "code", "source": "", "metadata": {}, "outputs": [figure]}
    made = arrange({"cells": [*cells, code]})["cells"]
    assert [one["source"] for one in made[:-1]] == left


def test_questions_are_escaped_and_have_their_answer() -> None:
    html = ask("Is <a> best?", ["yes", "<no>"], right="<no>", why="a & b")
    assert "<strong>B: &lt;no&gt;</strong> a &amp; b" in html and "Is &lt;a&gt; best?" in html
    assert "Predict, then look." in html and "Exercise." in ask("How many?", right="7")
    with pytest.raises(InputError, match="the right answer is 'maybe', not of yes, no"):
        ask("Is it?", ["yes", "no"], right="maybe")
    with pytest.raises(InputError, match="the right answer is ''"):
        ask("Is it?")


def test_a_copy_for_students_has_questions_without_answers(tmp_path: Path) -> None:
    asked = ask("Is it?", ["yes", "no"], right="no", why="2 < 3")
    data = {"text/html": str(asked), "text/plain": repr(asked)}
    shown = [nbformat.v4.new_output("execute_result", data=data)]
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell("ask()", outputs=shown),
        nbformat.v4.new_code_cell("6 * 7", metadata={"tags": ["solution"]}),
    ]
    path = tmp_path / "x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    (tmp_path / "out").mkdir()
    for answers in (True, False):
        write_arranged(path, tmp_path / "out", answers)
        text = (tmp_path / "out" / "x.ipynb").read_text()
        assert "Is it?" in text and '<ol type=\\"A\\"><li>yes</li>' in text
        assert ("2 &lt; 3" in text) == ("6 * 7" in text) == ("B: no" in text) == answers


def test_only_what_is_defined_is_noted(shown: list[tuple[object, object]]) -> None:
    for nothing in (None, np.nan, {"p": np.nan, "difference": 1.0}, np.inf):
        note("dino-best", nothing)
    assert shown == []
    note("dino-best", 0.25)
    assert shown[0][0]._repr_mimebundle_()[MIME]["value"] == 0.25


def test_a_folded_table_says_what_is_in_it() -> None:
    frame = pd.DataFrame({"a": [0.12345, np.nan], "n": ["<x>", "y"]}, index=["one", "two"])
    html = frame_table(frame, {"a": "A", "gone": "Gone", "n": "N"}, "Numbers")
    assert html.startswith("<details") and "<summary>Table: Numbers</summary>" in html
    assert "<td>0.123</td><td>undefined</td><td>&lt;x&gt;</td>" in html
    counts = frame_table(pd.DataFrame({"n": [75, 30], "r": [0.5, 0.25]}, index=["a", "b"]))
    assert "<td>75</td><td>0.500</td>" in counts, "counts beside fractions stay whole"
    opened = frame_table(frame, caption="Numbers", fold=False)
    assert "<details" not in opened and "<caption>Numbers</caption>" in opened
    assert table(("a",), [(1,)], "Numbers") == table(("a",), [(1,)], "Numbers", fold=False)


def test_words_go_where_the_page_wants_them() -> None:
    words = {"name": "fig-x", "caption": "At *5%*.", "alt": "A & b"}
    outputs = [
        nbformat.v4.new_output(
            "display_data",
            data={"text/html": '<p class="cpssl-headline">Found.</p>'},
            metadata={"cpssl": {"headline": True}},
        ),
        nbformat.v4.new_output(
            "display_data", data={"image/png": "x"}, metadata={"cpssl": {"figure": words}}
        ),
    ]
    html = str(ask("Why?", right="So."))
    asked = nbformat.v4.new_output("execute_result", data={"text/html": html})
    warning = {"text/html": '<div class="admonition warning"><p>Old.</p></div>'}
    warned = nbformat.v4.new_output("display_data", data=warning)
    hidden = {"tags": ["hide-input"]}
    cells = [
        nbformat.v4.new_markdown_cell("# Title\n\nText."),
        nbformat.v4.new_code_cell("seed = 1", metadata={"tags": ["parameters", "hide-input"]}),
        nbformat.v4.new_code_cell("draw()", outputs=outputs, metadata={"tags": ["hide-input"]}),
        nbformat.v4.new_code_cell("import re", outputs=[warned], metadata=hidden),
        nbformat.v4.new_code_cell("ask()", outputs=[asked], metadata=hidden),
        nbformat.v4.new_code_cell("def f(): return 1", metadata=hidden),
        nbformat.v4.new_code_cell("x = 1", metadata=hidden),
        nbformat.v4.new_code_cell("2 + 2", metadata={"tags": ["solution"]}),
        nbformat.v4.new_code_cell("3 + 3"),
    ]
    made = arrange(json.loads(nbformat.writes(nbformat.v4.new_notebook(cells=cells))))
    title, figure, text, parameters, drawing, *rest, solution, plain = made["cells"]
    assert title["source"] == '# Title\n\n<p class="cpssl-headline">Found.</p>'
    assert text["source"] == "Text." and drawing["source"] == ["draw()"]
    assert not drawing["outputs"]
    assert parameters["metadata"]["mystnb"]["code_prompt_show"] == "Show the parameters"
    about = figure["metadata"]["mystnb"]
    assert about["figure"] == {"name": "fig-x", "caption": r"At \*5\%\*\."}
    assert about["image"] == {"alt": "A & b"} and len(figure["outputs"]) == 1
    assert figure["metadata"]["tags"] == ["remove-input"]
    how = drawing["metadata"]["mystnb"]["code_prompt_show"]
    assert how == "Show how the first figure is drawn"
    assert solution["metadata"]["tags"] == ["solution", "hide-cell"]
    folds = {part["source"][0]: part["metadata"]["mystnb"]["code_prompt_show"] for part in rest}
    assert folds == {
        "import re": "Show imports and loading",
        "ask()": "Show how the answer is computed",
        "def f(): return 1": "Show the functions used below",
        "x = 1": "Show the preparation",
    }
    assert plain["metadata"] == {}
    warned = '<div class="admonition warning"><p>{}</p></div>'
    texts = ("one of 12", "two", "one of 7")
    told = [{"data": {"text/html": warned.format(text)}} for text in texts]
    made["cells"][-1]["outputs"] = [*told, {"data": {"text/plain": "6"}}]
    first, value = arrange(made)["cells"][-1]["outputs"]
    fold = "3 warnings of this step</summary><p>one of 12 (And 1 more with other numbers.)</p>"
    assert f"{fold}<p>two</p></details>" in first["data"]["text/html"]
    assert value["data"]["text/plain"] == "6"
    again = json.dumps(made)
    assert json.dumps(arrange(made)) == again


def test_the_explorer_stands_where_a_first_figure_would() -> None:
    html = f'{EXPLORER} data-n="3"></div>'
    drawn = nbformat.v4.new_output("display_data", data={"text/html": html})
    cells = [
        nbformat.v4.new_markdown_cell("# Title\n\nText."),
        nbformat.v4.new_code_cell("1 + 1"),
        nbformat.v4.new_code_cell("draw()", outputs=[drawn], metadata={"tags": ["hide-input"]}),
    ]
    made = arrange(json.loads(nbformat.writes(nbformat.v4.new_notebook(cells=cells))))
    title, first, text, plain, drawing = made["cells"]
    assert title["source"] == "# Title" and text["source"] == "Text."
    assert [output["data"] for output in first["outputs"]] == [{"text/html": [html]}]
    assert plain["source"] == ["1 + 1"] and drawing["source"] == ["draw()"]
    assert first["source"] == ELSEWHERE and drawing["outputs"] == []


def test_a_page_says_how_to_cite_it_where_the_repository_is_public() -> None:
    context = {"cpssl_repository": ""}
    add_links(None, "chapters/01_x", "", context, None)
    assert context == {"cpssl_repository": ""}
    context["cpssl_repository"] = "https://github.com/a/b"
    add_links(None, "chapters/01_x", "", context, None)
    links = re.findall(r'href="([^"]+)"', context["theme_extra_footer"])
    assert links[0] == "https://github.com/a/b/blob/HEAD/CITATION.cff"
    assert links[1].endswith("/issues/new?title=Page+chapters%2F01_x%3A+")


def test_the_page_of_the_demo(small_root: Path, small_book: Path) -> None:
    page = (small_book / "chapters" / "99_demo.html").read_text()
    article = page[page.index("<article") : page.index("</article>")]
    assert re.search(
        r"</h1>\s*<p class=\"cpssl-headline\">The highest point is in row \d &amp; nowhere "
        r"else.</p>\s*<p class=\"cpssl-launch\">",
        article,
    )
    assert "Random points, &lt;108&gt; in *all*." in article
    assert 'alt="Rows of &quot;random&quot; points in the colours of the methods"' in article
    assert len(re.findall(r"point is in row \d", article)) == 1, "moved, not copied"
    places = [article.index(t) for t in ("<figure", "It holds one of", "Said beside the figure.")]
    assert places == sorted(places), "the main figure first, the rest where it was"
    assert "row 1 &lt;b&gt;" in article
    assert "Show the solution" in article and "<summary>Table: The same points</summary>" in article
    cells = read_executed(small_root / "book" / "executed" / "lite" / "99_demo.ipynb")["cells"]
    images = [o for c in cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(images) == 1, "drawn once"


def test_marked_sections_keep_heading_and_first_paragraph(small_book: Path) -> None:
    page = (small_book / "chapters" / "02_ssl_comparison.html").read_text()
    start = page.index('<section id="do-replicates-agree">')
    part = page[start : page.index("</section>", start)]
    places = [part.index(tag) for tag in ("<h2>", "<p>", '<details class="cpssl-more">', "<figure")]
    assert places == sorted(places) and "<summary>Read on: 1 figure</summary>" in part
    first = page[page.index('<section id="how-many') :]
    assert "cpssl-more" not in first[: first.index("</section>")], "not marked"


def test_plots_show_what_they_are_given() -> None:
    frame = pd.DataFrame({"x": [0.2, 0.6], "y": [0.1, 0.5]}, index=["DINO", "CellProfiler"])
    figure, axes = plt.subplots(1, 3)
    plots.scatter(axes[0], frame, "x", "y", dotted="CellProfiler")
    assert [tuple(line.get_xydata()[0]) for line in axes[0].lines[:2]] == [(0.2, 0.1), (0.6, 0.5)]
    assert axes[0].get_xlim()[0] < 0 < 0.6 < axes[0].get_xlim()[1]
    plots.intervals(axes[1], {"MAE (mine)": (0.1, -0.2, 0.3), "SimCLR": (0.4, 0.3, 0.5)})
    assert list(axes[1].lines[0].get_xdata()) == [-0.2, 0.3]
    assert [text.get_text() for text in axes[1].get_yticklabels()] == ["MAE\n(mine)", "SimCLR"]
    plots.numbers(axes[2], frame, best=["DINO"])
    assert [text.get_text() for text in axes[2].texts] == ["0.20", "0.10", "0.60", "0.50"]
    plots.legend(figure, frame.index, {"DINO": "ViT-S", "CellProfiler": "segmentation"})
    assert [len(one.get_texts()) for one in figure.legends] == [2, 2]
    plt.close(figure)
    grid = plots.pictures([np.zeros((4, 4))] * 5, list("abcde"), columns=3)
    assert [axis.get_title() for axis in grid.axes] == ["a", "b", "c", "d", "e", ""]
    plt.close(grid)


def test_a_rung_that_nobody_can_stand_on_is_left_out() -> None:
    numbers = {f"perturbation_recall1_{rung}": 0.5 for rung in panels.LADDER}
    numbers |= {"perturbation_recall1_nss": np.nan, "percent_active": 0.25}
    figure = panels.found_and_ladder({"DINO": numbers}, "perturbation", "percent_active", "Active")
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["25%"]
    assert [text.get_text() for text in right.get_yticklabels()] == [
        "\n".join(name.rsplit(" ", 1)) for rung, name in panels.LADDER.items() if rung != "nss"
    ]
    plt.close(figure)


def test_what_is_looked_up_is_folded_and_the_first_figure_moves() -> None:
    figure = {"output_type": "display_data", "data": {"image/png": "x"}, "metadata": {}}
    about = {"figure": {"name": "a", "caption": "b"}, "image": {"alt": "c"}}
    drawn = {"cell_type": "code", "source": "x", "metadata": {"mystnb": about}, "outputs": [figure]}
    texts = "# T", "## Known\n\nText.", "## Exercises\n\nOne.", "More.\n\n## Far\n\n## Near"
    cells = [{"cell_type": "markdown", "source": t, "metadata": {}} for t in texts]
    cells[3]["metadata"]["tags"] = ["more"]
    made = arrange({"cells": [*cells[:2], drawn, *cells[2:]]})["cells"]
    assert [part["source"] for part in made] == [
        "# T",
        ELSEWHERE,
        "## Known\n\nText.",
        "x",
        "{.cpssl-more}\n## Exercises\n\nOne.",
        "More.\n\n{.cpssl-more}\n## Far\n\n## Near",
    ]
    again = json.dumps(made)
    assert json.dumps(arrange({"cells": made})["cells"]) == again


def test_what_a_cell_shows_beside_its_figure_has_no_caption() -> None:
    figure = {
        "data": {"image/png": "x"},
        "metadata": {KEY: {"figure": dict(name="a", caption="b", alt="c")}},
    }
    question = {"data": {"text/html": "<p>why?</p>"}, "metadata": {}}
    cell = {"cell_type": "code", "id": "c", "source": "x", "metadata": {}}
    notebook = arrange({"cells": [{**cell, "outputs": [figure, question]}]})
    drawn, asked = notebook["cells"]
    assert "figure" in drawn["metadata"]["mystnb"] and drawn["outputs"] == [figure]
    assert asked["outputs"] == [question] and "mystnb" not in asked["metadata"]
    assert arrange(notebook)["cells"] == [drawn, asked], "once arranged, it stays"
