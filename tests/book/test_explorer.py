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
            "Plate": [f"Plate {1 + (i >= n // 2)}" for i in range(n)],
            "Cells": [np.nan if i == 3 else float(100 + i) for i in range(n)],
        }
    )
    flat = np.stack([np.full((5, 8, 8), i % 60, np.float32) for i in range(min(n, 60))])
    ring = np.stack([np.cos(np.arange(n) / n), np.sin(np.arange(n) / n)], axis=1)
    options: dict[str, Any] = {
        "color_by": ["Target", "Batch", "Cells"],
        "select": "Target",
        "sheets": [sheet(flat, CHANNELS, range(len(flat)))],
        "grey": ["no target"],
        "title": "Test map",
        "features": {"One": ring, "Two": ring[::-1]},
        "controls": np.arange(n) % 5 == 0,
    }
    maps = {"One": rng.normal(size=(n, 2)), "Two": rng.normal(size=(n, 2))}
    return explorer(wells, maps, **(options | changes))


def page(content: str) -> str:
    """One HTML file with everything in it."""
    static = find_root(Path(__file__)) / "book" / "_static"
    css, script, wells = (
        (static / name).read_text("utf-8")
        for name in ("explorer.css", "explorer.js", "explorer_wells.js")
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Wells</title><style>{css}</style></head>"
        f'<body class="cx-page"><main><h1>Wells</h1>{content}</main>'
        f"<script>{wells}{script}</script></body></html>"
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
    x, y = everywhere(shown)[well]
    return float(x), float(y)


def everywhere(shown: Any) -> np.ndarray:
    """Places of all points on the screen."""
    points = shown.evaluate(
        "[...Array(60).keys()].map(document.querySelector('.cpssl-explorer').explorer.at)"
    )
    box = shown.locator(".cx-stage").bounding_box()
    return np.add(points, [box["x"], box["y"]])


def card(shown: Any) -> dict[str, str]:
    names, values = (shown.locator(f".cx-card {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


def far_well(shown: Any) -> int:
    """A well whose point no other one covers, and no button."""
    points = everywhere(shown)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(60)
    under = shown.evaluate(
        "p => p.map(([x, y]) => !!document.elementFromPoint(x, y)?.closest('button'))",
        points.tolist(),
    )
    return int(np.where(under, -1, apart.min(axis=1)).argmax())


# Resolves when three frames in a row show the same.
STILL = """() => new Promise((done) => {
  let seen = "", same = 0;
  const look = () => {
    const canvases = [...document.querySelectorAll(".cpssl-explorer canvas")];
    const now = canvases.map((one) => one.width && one.toDataURL()).join();
    same = now === seen ? same + 1 : 0;
    seen = now;
    same < 3 ? requestAnimationFrame(look) : done();
  };
  look();
})"""


def rest(shown: Any, ms: int) -> None:
    """Wait so long, and on until nothing moves: on a busy machine frames come late."""
    shown.wait_for_timeout(ms)
    shown.evaluate(STILL)


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
    rest(shown, 200)
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
    rest(shown, 100)
    assert shown.inner_text(".cx-status") == "1 of 60 wells"
    faded = shown.evaluate(pixel, place)
    shown.fill("[name=search]", f"P{well}")
    rest(shown, 100)
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


def test_the_pinned_well_shows_its_neighbours_in_the_features(visit: Visit) -> None:
    shown = visit.page
    shown.fill("[name=search]", "P30")
    shown.locator(".cx-stage").focus()
    shown.keyboard.press("ArrowRight")
    assert shown.locator(".cx-panel").is_hidden()
    covered = shown.locator(".cx-card").bounding_box()["height"]
    shown.keyboard.press("Enter")
    # The panel below says all of it: the card keeps to names and gives the map free.
    assert shown.locator(".cx-card canvas").is_hidden()
    assert shown.locator(".cx-card").bounding_box()["height"] < covered / 3
    assert shown.inner_text(".cx-near .cx-which") == "Nearest in the features of One"
    # Wells lie on an arc in the order of their numbers.
    near = shown.locator(".cx-near button").all_inner_texts()
    assert {int(text.split("P")[1]) for text in near} == {26, 27, 28, 29, 31, 32, 33, 34}
    shown.fill("[name=search]", "")
    shown.click(".cx-near button >> nth=0")
    assert card(shown)["Perturbation"] in ("P29", "P31")
    shown.locator(".cx-stage").focus()
    shown.keyboard.press("Escape")
    assert shown.locator(".cx-panel").is_hidden()


def lit(shown: Any) -> list[int]:
    """Red, green and blue of the middle of the pinned well's picture."""
    rest(shown, 250)
    return shown.evaluate(
        "() => { const c = document.querySelector('.cx-pair canvas');"
        " return [...c.getContext('2d').getImageData(160, 160, 1, 1).data].slice(0, 3) }"
    )


def test_stains_are_switched_and_two_wells_lie_side_by_side(visit: Visit) -> None:
    shown = visit.page
    shown.click(".cx-toggle")
    shown.click(".cpssl-explorer tbody tr >> nth=57 >> button")
    before = lit(shown)
    for name in CHANNELS[:4]:
        shown.uncheck(f".cx-stains input[value={name}]")
    grey = lit(shown)
    assert grey[0] == grey[1] == grey[2] > 200 and grey != before
    shown.uncheck(".cx-stains input[value=DNA]")
    assert lit(shown) == [0, 0, 0]
    shown.check(".cx-stains input[value=DNA]")
    shown.click(".cx-keep")
    shown.click(".cpssl-explorer tbody tr >> nth=4 >> button")
    names = shown.locator(".cx-pair dl").evaluate_all("all => all.map(a => a.innerText)")
    assert len(names) == 2 and "P4" in names[0] and "P57" in names[1]
    shown.click(".cx-controls")
    texts = shown.locator(".cx-pair .cx-row button").all_inner_texts()
    assert len(texts) == 6 and all(int(t.split("P")[1]) % 5 == 0 for t in texts)
    assert all(int(t.split("P")[1]) < 30 for t in texts), "of the same plate"
    shown.click(".cx-larger >> nth=0")
    assert shown.locator("dialog canvas").bounding_box()["width"] > 500
    shown.keyboard.press("Escape")
    assert shown.locator("dialog").is_hidden()


def test_numbers_have_a_scale_that_picks_a_range(visit: Visit) -> None:
    shown = visit.page
    shown.select_option("[name=color]", "Cells")
    assert shown.locator(".cx-legend output").all_inner_texts() == ["100", "159"]
    shown.focus(".cx-legend input >> nth=0")
    shown.keyboard.press("PageUp")
    low = float(shown.locator(".cx-legend output").first.inner_text())
    count = sum(1 for i in range(60) if i != 3 and 100 + i >= low)
    assert low > 100 and shown.inner_text(".cx-status >> nth=0") == f"{count} of 60 wells"
    shown.select_option("[name=color]", "Target")
    assert shown.inner_text(".cx-status >> nth=0") == "60 wells"


def test_plates_are_shown_as_they_are_laid_out(visit: Visit) -> None:
    shown = visit.page
    shown.select_option("[name=map]", label="Plates, as laid out")
    rest(shown, 1200)
    points = everywhere(shown)
    assert np.ptp(points[:10, 1]) < 1, "A01 to A10 are a row"
    assert np.ptp(points[[0, 10, 20], 0]) < 1, "A01, B01, C01 are a column"
    assert points[59, 0] > points[29, 0], "the second plate lies beside the first"


def test_a_lasso_picks_wells_and_they_are_saved(visit: Visit) -> None:
    shown = visit.page
    well = far_well(shown)
    x, y = at(shown, well)
    shown.click(".cx-lasso")
    shown.mouse.move(x - 9, y - 9)
    shown.mouse.down()
    for dx, dy in ((9, -9), (9, 9), (-9, 9), (-9, -9)):
        shown.mouse.move(x + dx, y + dy)
    shown.mouse.up()
    assert shown.inner_text(".cx-status >> nth=0") == "1 of 60 wells"
    with shown.expect_download() as got:
        shown.click(".cx-csv")
    saved = pd.read_csv(got.value.path())
    assert list(saved) == ["Well", "Perturbation", "Target", "Batch", "Plate", "Cells"]
    assert saved["Perturbation"].tolist() == [f"P{well}"]
    shown.click(".cx-lasso")
    assert shown.inner_text(".cx-status >> nth=0") == "60 wells"


def test_a_link_restores_the_view(visit: Visit, tmp_path: Path) -> None:
    shown = visit.page
    shown.select_option("[name=map]", label="Two")
    shown.select_option("[name=color]", "Batch")
    shown.fill("[name=search]", "T2")
    shown.locator(".cx-stage").focus()
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("Enter")
    shown.keyboard.press("+")
    shown.uncheck(".cx-stains input[value=AGP]")
    rest(shown, 900)
    before, place = card(shown), at(shown, 7)
    link = shown.url
    assert "#view:" in link
    shown.goto("about:blank")
    shown.goto(link)
    shown.wait_for_selector(".cx-ready")
    rest(shown, 100)
    assert card(shown) == before and at(shown, 7) == pytest.approx(place, abs=1)
    assert shown.input_value("[name=search]") == "T2" and shown.input_value("[name=map]") == "1"
    assert not shown.is_checked(".cx-stains input[value=AGP]")
    # What no explorer wrote is no reason to fail.
    shown.goto("about:blank")
    shown.goto(
        link.split("#")[0] + "#view:map=%3Cb%3E&well=9999&zoom=x_y&range=a&legend=99&wells=zz"
    )
    shown.wait_for_selector(".cx-ready")
    assert shown.inner_text(".cx-status >> nth=0") == "60 wells"


def test_names_in_the_menus_are_not_cut(visit: Visit) -> None:
    assert visit.page.evaluate(
        "[...document.querySelectorAll('.cx-bar select')].every(s => {"
        " const pen = document.createElement('canvas').getContext('2d');"
        " const style = getComputedStyle(s); pen.font = style.font;"
        " return [...s.options].every(o => pen.measureText(o.text).width < s.clientWidth) })"
    )


def test_other_features_move_the_points(visit: Visit) -> None:
    shown = visit.page
    before = everywhere(shown)
    shown.select_option("[name=map]", label="Two")
    rest(shown, 1500)
    after = everywhere(shown)
    assert np.median(np.linalg.norm(after - before, axis=1)) > 30
    well = far_well(shown)
    shown.mouse.move(*at(shown, well))
    assert card(shown)["Perturbation"] == f"P{well}"


def test_zoom_keeps_the_pointer_right(visit: Visit) -> None:
    shown = visit.page
    shown.click("button[aria-label='Zoom in']")
    rest(shown, 100)
    box = shown.locator(".cx-stage").bounding_box()
    points = everywhere(shown)
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


@pytest.fixture
def phone(browser: Any, tmp_path: Path) -> Iterator[Any]:  # noqa: F811
    """The explorer on a small screen that is touched."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, offline=True
    )
    shown = context.new_page()
    (tmp_path / "one.html").write_text(page(make()), encoding="utf-8")
    shown.goto((tmp_path / "one.html").as_uri())
    shown.wait_for_selector(".cx-ready")
    yield shown
    context.close()


def test_fingers_pick_wells_stains_and_plates(phone: Any) -> None:
    well = far_well(phone)
    phone.tap(".cx-lasso")
    phone.locator(".cx-stage").scroll_into_view_if_needed()
    x, y = at(phone, well)
    finger = phone.context.new_cdp_session(phone)
    corners = ((-12, -12), (12, -12), (12, 12), (-12, 12), (-12, -12))
    for kind, points in (
        ("touchStart", corners[:1]),
        *(("touchMove", (corner,)) for corner in corners[1:]),
        ("touchEnd", ()),
    ):
        drawn = [{"x": x + dx, "y": y + dy, "id": 0} for dx, dy in points]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": drawn})
    from playwright.sync_api import expect

    status = phone.locator(".cx-status >> nth=0")
    expect(status).to_have_text("1 of 60 wells")
    phone.wait_for_timeout(700)  # at once it would be half of a double tap
    phone.tap(".cx-lasso")
    expect(status).to_have_text("60 wells")
    phone.touchscreen.tap(*at(phone, well))
    assert card(phone)["Perturbation"] == f"P{well}"
    for name in CHANNELS:
        phone.tap(f".cx-stains input[value={name}]")
    assert lit(phone) == [0, 0, 0]
    phone.select_option("[name=map]", label="Plates, as laid out")
    rest(phone, 1200)
    points = everywhere(phone)[:10]
    assert np.ptp(points[:, 1]) < 1, "A01 to A10 are a row"


def test_a_finger_shows_the_card(phone: Any) -> None:
    shown = phone
    well = far_well(shown)
    shown.touchscreen.tap(*at(shown, well))
    assert card(shown)["Perturbation"] == f"P{well}"
    top = [shown.locator(name).bounding_box()["y"] for name in (".cx-stage", ".cx-bar")]
    assert top[0] < top[1], "the map comes first"
    # Two fingers move apart: what was between them stays there, larger.
    shown.locator(".cx-stage").scroll_into_view_if_needed()
    before = everywhere(shown)
    x, y = before.mean(axis=0)
    fingers = shown.context.new_cdp_session(shown)

    def touch(kind: str, *apart: float) -> None:
        points = [
            {"x": x + sign * d, "y": y, "id": i} for d in apart for i, sign in enumerate((-1, 1))
        ]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 30)
    for apart in (40, 50, 60):
        touch("touchMove", apart)
    touch("touchEnd")
    rest(shown, 150)
    after = everywhere(shown)
    assert np.ptp(after[:, 0]) / np.ptp(before[:, 0]) == pytest.approx(2, rel=0.1)


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
        rest(shown, 200)
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
