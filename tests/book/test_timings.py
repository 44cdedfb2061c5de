"""The kept measurement of CellProfiler itself: what chapter 06 and the first page say of it."""

import json

import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import sha256
from cpssl_lite.book.timings import kept_timing
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


def test_a_measurement_that_is_none(tmp_path):
    for text in ("", "[]", json.dumps({"seconds": {"a": [1, 2]}})):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(InputError, match=r"x\.json: no kept measurement"):
            kept_timing(tmp_path / "x.json")
