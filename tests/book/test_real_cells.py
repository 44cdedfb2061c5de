"""The kept numbers of real cells, and what the first page says of them."""

import json
from pathlib import Path

import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.real_cells import KEPT, kept_profiles_of_cpjump1, write_real_cells
from cpssl_lite.book.timings import kept_timing
from cpssl_lite.data.manifests import load_manifest
from tests.book.conftest import ROOT


def test_the_kept_numbers_are_of_the_tables_in_the_manifest() -> None:
    kept = kept_profiles_of_cpjump1()
    known = {file["path"]: file["sha256"] for file in load_manifest("cpjump1_profiles")["files"]}
    assert kept["tables"].items() <= known.items() and len(kept["tables"]) == 3
    scores = kept["scores"]
    assert scores["n_batches"] == 3 and 0 < scores["label_map"] < scores["perturbation_map"] < 1
    assert all(line.startswith("cpssl ") for line in kept["commands"])


def test_the_page_says_number_command_machine_and_date() -> None:
    page, kept, timing = write_real_cells(), kept_profiles_of_cpjump1(), kept_timing()
    assert f"mAP of {kept['scores']['perturbation_map']:.2f}" in page
    assert f"{timing.ratio.median():.0f} times as long" in page
    for about in (kept, timing.about):
        assert f"{about['machine']}, {about['date']}" in page
    for command in kept["commands"]:
        assert f"<code>{command}</code>" in page
    assert page.count("<tr>") == 3 and "same wells of all plates" in page


def test_a_book_that_keeps_no_numbers_has_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpssl_lite.book.real_cells.find_root", lambda: tmp_path)
    assert write_real_cells() == ""
    (tmp_path / KEPT).parent.mkdir(parents=True)
    with pytest.raises(InputError, match=r"cpjump1\.json: no kept measurement"):
        write_real_cells()


def test_what_is_no_such_measurement(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    for text in ("", "{}", json.dumps({"scores": {"label_map": 1}})):
        file.write_text(text)
        with pytest.raises(InputError, match=r"x\.json: no kept measurement"):
            kept_profiles_of_cpjump1(file)
    file.write_text((ROOT / KEPT).read_text().replace('"date": "2', '"date": "", "x": "2'))
    with pytest.raises(InputError, match=r"x\.json: no kept measurement"):
        kept_profiles_of_cpjump1(file)
