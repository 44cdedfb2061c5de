"""The explorer in headless Chromium with the network off."""

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.build import build_chapter
from cpssl_lite.book.explorer import align, explorer, sheet
from cpssl_lite.book.figures import CHANNEL_COLORS
from cpssl_lite.book.where import find_root
from tests.book.test_browser import QUIET, Visit, browser  # noqa: F401  (a fixture)

pytestmark = pytest.mark.browser

CHANNELS = ("Mito", "AGP", "RNA", "ER", "DNA")
EVIL = '<img src=x onerror="document.title=1">'
rng = np.random.default_rng(0)


def make(n: int = 60, **changes: Any) -> str:
    wells = pd.DataFrame(
        {
            "Well": [f"{'ABCDEF'[i // 10]}{i % 10 + 1:02d}" for i in range(60)] * (n // 60)
            + [f"X{i}" for i in range(n % 60)],
            "Perturbation": [f"P{i}" for i in range(n)],
            "Target": ["no target" if i % 5 == 0 else f"T{i % 5}" for i in range(n)],
            "Batch": ["B1" if i % 2 else EVIL for i in range(n)],
        }
    )
    flat = np.stack([np.full((5, 8, 8), i % 60, np.float32) for i in range(min(n, 60))])
    options: dict[str, Any] = {
        "color_by": ["Target", "Batch"],
        "select": "Target",
        "sheets": [sheet(flat, CHANNELS, range(len(flat)))],
        "grey": ["no target"],
        "title": "Test map",
    }
    maps = {"One": rng.normal(size=(n, 2)), "Two": rng.normal(size=(n, 2))}
    return explorer(wells, maps, **(options | changes))


def page(content: str) -> str:
    """One HTML file with everything in it."""
    static = find_root(Path(__file__)) / "book" / "_static"
    css, script = ((static / f"explorer.{kind}").read_text("utf-8") for kind in ("css", "js"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Wells</title><style>{css}</style></head>"
        f'<body class="cx-page"><main><h1>Wells</h1>{content}</main>'
        f"<script>{script}</script></body></html>"
    )


@pytest.fixture
def visit(request: Any, browser: Any, tmp_path: Any) -> Iterator[Visit]:  # noqa: F811
    made = Visit(browser, getattr(request, "param", 1280))
    (tmp_path / "one.html").write_text(page(make()), encoding="utf-8")
    made.open(tmp_path / "one.html").wait_for_selector(".cx-ready")
    yield made
    made.context.close()
    assert (made.asked, made.said) == ([], [])


def at(shown: Any, well: int) -> tuple[float, float]:
    """Place of a well's point on the screen."""
    x, y = shown.evaluate(f"document.querySelector('.cpssl-explorer').explorer.at({well})")
    box = shown.locator(".cx-stage").bounding_box()
    return box["x"] + x, box["y"] + y


def card(shown: Any) -> dict[str, str]:
    names, values = (shown.locator(f".cx-card {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


def far_well(shown: Any) -> int:
    """A well whose point no other one covers."""
    points = np.array([at(shown, i) for i in range(60)])
    apart = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(60)
    return int(apart.min(axis=1).argmax())


def test_hover_shows_the_well_and_its_picture(visit: Visit) -> None:
    shown = visit.page
    well = far_well(shown)
    assert shown.locator(".cx-card").is_hidden()
    shown.mouse.move(*at(shown, well))
    assert card(shown)["Perturbation"] == f"P{well}"
    assert card(shown)["Batch"] == ("B1" if well % 2 else EVIL)  # as text
    assert shown.title() == "Wells"
    # Brightness rises with the number of the well, so the middle of the picture tells which.
    grey = (
        "() => { const c = document.querySelector('.cx-card canvas');"
        " return [...c.getContext('2d').getImageData(128, 128, 1, 1).data]"
        ".slice(0, 3).reduce((a, b) => a + b) }"
    )
    shown.wait_for_timeout(200)
    seen = []
    for other, name in ((2, "A03"), (30, "D01"), (57, "F08")):
        shown.fill("[name=search]", name)
        shown.locator(".cx-stage").focus()
        shown.keyboard.press("Escape")
        shown.keyboard.press("ArrowRight")
        assert card(shown)["Perturbation"] == f"P{other}"
        seen.append(shown.evaluate(grey))
    assert seen[0] + 50 < seen[1] < seen[2] - 50


def test_caption_names_the_colours_of_the_pictures(visit: Visit) -> None:
    caption = visit.page.locator(".cx-caption")
    assert caption.inner_text().startswith("Test map.")
    names = [name.strip() for name in caption.locator("span").all_inner_texts()]
    assert tuple(names) == CHANNELS
    tints = caption.locator("i").evaluate_all("dots => dots.map(d => d.style.backgroundColor)")
    assert tints[4] == "rgb({})".format(", ".join(f"{255 * v:.0f}" for v in CHANNEL_COLORS["DNA"]))
    assert "Colours" not in make(sheets=[]).split('class="cx-caption"')[1]


def test_search_highlights_and_the_keyboard_walks_what_was_found(visit: Visit) -> None:
    shown = visit.page
    pixel = (
        "([x, y]) => { const c = document.querySelector('.cx-stage canvas');"
        " const r = c.width / c.clientWidth; return [...c.getContext('2d')"
        ".getImageData(Math.round(x * r), Math.round(y * r), 1, 1).data].slice(0, 3) }"
    )
    well = far_well(shown)
    while well % 5 == 0:  # a grey one would stay grey
        well += 1
    place = shown.evaluate(f"document.querySelector('.cpssl-explorer').explorer.at({well})")
    before = shown.evaluate(pixel, place)
    shown.fill("[name=search]", "p59 b1")
    shown.wait_for_timeout(100)
    assert shown.inner_text(".cx-status") == "1 of 60 wells"
    faded = shown.evaluate(pixel, place)
    shown.fill("[name=search]", f"P{well}")
    shown.wait_for_timeout(100)
    assert well == 59 or sum(faded) > sum(before) + 60  # lighter on a light page
    assert shown.evaluate(pixel, place) == before
    shown.fill("[name=search]", "T2")
    shown.press("[name=search]", "Tab")
    assert shown.evaluate("document.activeElement.className").startswith("cx-stage")
    found = set()
    for key in ["ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"] * 4:
        shown.keyboard.press(key)
        found.add(card(shown)["Target"])
    assert found == {"T2"} and "Target T2" in shown.inner_text(".cx-spoken")


def test_colour_legend_and_selection(visit: Visit) -> None:
    shown = visit.page
    assert shown.locator(".cx-legend button").all_inner_texts() == [
        *("T1", "T2", "T3", "T4", "no target")
    ]
    shown.select_option("[name=color]", "Batch")
    assert shown.locator(".cx-legend button").all_inner_texts() == [EVIL, "B1"]
    shown.click(".cx-legend button >> nth=1")
    assert shown.inner_text(".cx-status") == "30 of 60 wells"
    shown.select_option("[name=select]", "T1")
    assert shown.inner_text(".cx-status") == "6 of 60 wells"
    shown.click(".cx-toggle")
    rows = shown.locator(".cpssl-explorer tbody tr")
    assert rows.count() == 6 and "T1" in rows.first.inner_text()
    rows.first.locator("button").click()
    assert card(shown)["Target"] == "T1"


def test_other_features_move_the_points(visit: Visit) -> None:
    shown = visit.page
    before = np.array([at(shown, i) for i in range(60)])
    shown.select_option("[name=map]", label="Two")
    shown.wait_for_timeout(1500)
    after = np.array([at(shown, i) for i in range(60)])
    assert np.median(np.linalg.norm(after - before, axis=1)) > 30
    well = far_well(shown)
    shown.mouse.move(*at(shown, well))
    assert card(shown)["Perturbation"] == f"P{well}"


def test_zoom_keeps_the_pointer_right(visit: Visit) -> None:
    shown = visit.page
    shown.click("button[aria-label='Zoom in']")
    shown.wait_for_timeout(100)
    box = shown.locator(".cx-stage").bounding_box()
    points = [at(shown, i) for i in range(60)]
    inside = [
        i
        for i, (x, y) in enumerate(points)
        if 0 < x - box["x"] < box["width"] and 0 < y - box["y"] < box["height"] - 60
    ]
    assert 5 < len(inside) < 60
    shown.locator(".cx-stage").focus()
    shown.keyboard.press("ArrowUp")
    x, y = at(shown, int(shown.get_attribute(".cx-stage", "data-current")))
    shown.keyboard.press("Escape")
    shown.mouse.move(x, y)
    assert shown.locator(".cx-card").is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_violation_and_no_sideways_scroll(
    browser: Any,  # noqa: F811
    tmp_path: Any,
    width: int,
    theme: str,
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    visit = Visit(browser, width, theme)
    (tmp_path / "one.html").write_text(page(make()), encoding="utf-8")
    shown = visit.open(tmp_path / "one.html")
    shown.wait_for_selector(".cx-ready")
    shown.mouse.click(*at(shown, 7))
    shown.locator(".cx-toggle").click()
    found = Axe().run(shown, options=QUIET).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:100]) for v in found] == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert (visit.asked, visit.said) == ([], [])
    visit.context.close()


def test_a_finger_shows_the_card(browser: Any, tmp_path: Any) -> None:  # noqa: F811
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, offline=True
    )
    shown = context.new_page()
    (tmp_path / "one.html").write_text(page(make()), encoding="utf-8")
    shown.goto((tmp_path / "one.html").as_uri())
    shown.wait_for_selector(".cx-ready")
    well = far_well(shown)
    shown.touchscreen.tap(*at(shown, well))
    assert card(shown)["Perturbation"] == f"P{well}"
    context.close()


def test_ten_thousand_points_are_drawn_in_a_frame(
    browser: Any,  # noqa: F811
    tmp_path: Any,
    record_testsuite_property: Any,
) -> None:
    visit = Visit(browser)
    (tmp_path / "big.html").write_text(page(make(10_000)), encoding="utf-8")
    shown = visit.open(tmp_path / "big.html")
    shown.wait_for_selector(".cx-ready")
    times = shown.evaluate(
        "() => { const { draw } = document.querySelector('.cpssl-explorer').explorer;"
        " return Array.from({ length: 30 }, () => {"
        " const start = performance.now(); draw(); return performance.now() - start }) }"
    )
    visit.context.close()
    record_testsuite_property("ms a frame, 10,000 points", round(statistics.median(times), 1))
    # 30 frames a second; the quickest ones, as other programs may hold the processor.
    assert statistics.quantiles(times, n=4)[0] < 33


@pytest.mark.slow
def test_in_a_page_of_the_book(browser: Any, small_root: Path, tmp_path: Path) -> None:  # noqa: F811
    from axe_playwright_python.sync_playwright import Axe

    shown_html = nbformat.v4.new_output("display_data", data={"text/html": make()})
    cell = nbformat.v4.new_code_cell("explorer()", outputs=[shown_html])
    cell.metadata["tags"] = ["hide-input"]
    text = nbformat.v4.new_markdown_cell("# Wells\n\n" + "Some words to read. " * 10)
    about = {"cpssl": {}, "language_info": {"name": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[text, cell], metadata=about)
    executed = small_root / "runs" / "wells.ipynb"
    executed.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, executed)
    built = build_chapter(executed, tmp_path / "html")
    for width, theme in [(1280, "light"), (390, "dark")]:
        visit = Visit(browser, width, theme)
        shown = visit.open(built)
        shown.wait_for_selector(".cx-ready")
        shown.locator(".cx-stage").scroll_into_view_if_needed()
        well = far_well(shown)
        shown.mouse.move(*at(shown, well))
        assert card(shown)["Perturbation"] == f"P{well}"
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(shown, options=QUIET).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"][:100]) for v in found] == []
        # The reader changes the theme: the map follows.
        corner = (
            "() => [...document.querySelector('.cx-stage canvas').getContext('2d')"
            ".getImageData(2, 2, 1, 1).data].slice(0, 3).reduce((a, b) => a + b)"
        )
        before = shown.evaluate(corner)
        other = "light" if theme == "dark" else "dark"
        shown.evaluate(f"document.documentElement.dataset.theme = '{other}'")
        shown.wait_for_timeout(200)
        assert abs(shown.evaluate(corner) - before) > 300
        assert (visit.asked, visit.said) == ([], [])
        visit.context.close()


def test_data_cannot_end_the_script_element() -> None:
    made = make(title="</script><b>")
    assert made.count("</script>") == 1
    text = made.split('<script type="application/json">')[1].split("</script>")[0]
    assert json.loads(text)["title"] == "</script><b>"


def test_maps_are_turned_to_the_first_and_keep_their_shape() -> None:
    first = rng.normal(size=(40, 2)) * [5, 1]
    turn = np.array([[0.0, -1.0], [1.0, 0.0]]) * 3
    placed = align({"a": first, "b": first @ turn + 7})
    np.testing.assert_allclose(placed["b"], placed["a"], atol=1e-9)
    assert placed["a"][:, 0].std() > placed["a"][:, 1].std()  # its long side lies across


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"select": "Gene"}, "no column Gene"), ({"color_by": []}, "no colour")],
)
def test_wrong_input_is_one_line(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        make(**changes)
    with pytest.raises(InputError, match=r"map b: finite coordinates \(4, 2\)"):
        align({"a": np.eye(4)[:, :2], "b": np.ones((3, 2))})
