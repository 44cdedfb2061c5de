"""The kept measurement of CellProfiler itself: what chapter 06 and the first page say of it."""

import json

import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import sha256
from cpssl_lite.book.timings import kept_timing, quoted
from cpssl_lite.profiles.cellprofiler_program import PIPELINE


def test_the_kept_measurement_is_of_the_pipeline_that_is_shipped():
    timing = kept_timing()
    assert timing.about["pipeline_sha256"] == sha256(PIPELINE)
    first, *_, last = timing.seconds
    assert first.startswith("CellProfiler 4.") and last == "ViT-S/16"
    assert (timing.ratio * timing.seconds[last]).tolist() == pytest.approx(
        timing.seconds[first].tolist()
    )
    # Modules are means over fields of the same run.
    assert timing.modules.sum() == pytest.approx(timing.seconds[first].mean(), rel=0.01)
    assert timing.modules.is_monotonic_decreasing
    said = timing.sentence()
    assert timing.about["date"] in said and timing.about["machine"] in said
    assert f"{timing.ratio.median():.0f} times as long" in said
    # Of seven real fields, and their spread is known.
    assert len(timing.ratio) == len(timing.nuclei) == 7 and timing.data.startswith("CPJUMP1")
    assert timing.ratio.min() < timing.ratio.median() < timing.ratio.max()
    slope, base = timing.by_nuclei()
    middle = base + slope * timing.nuclei.mean()
    assert middle == pytest.approx(timing.seconds[first].mean())
    # CellProfiler and its style find as many nuclei, within 5%.
    itself, style, same = (sum(n) for n in zip(*timing.about["agreement"]["counts"], strict=True))
    assert same <= min(itself, style) and abs(itself / style - 1) < 0.05


def test_a_measurement_that_is_none(tmp_path):
    for text in ("", "[]", json.dumps({"seconds": {"a": [1, 2]}})):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(InputError, match=r"x\.json: no kept measurement"):
            kept_timing(tmp_path / "x.json")


def test_a_line_of_a_kept_table_says_where_it_comes_from(tmp_path):
    (tmp_path / "speed.txt").write_text("2026-01-02\nCPU, 2 cores\nversions\n\nfp32   1.5  x\n")
    assert quoted(tmp_path, "speed", "fp32") == "fp32 1.5 x (CPU, 2 cores, 2026-01-02)"
    assert quoted(tmp_path, "speed", "int8") == quoted(tmp_path, "nothing", "fp32") == ""
