import pytest
import torch

from cpssl_lite.base.errors import InputError
from cpssl_lite.models import precision
from cpssl_lite.models.precision import choose_precision, native_precisions


@pytest.mark.parametrize(("has", "fastest"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_the_fastest_native_one(monkeypatch, has, fastest):
    monkeypatch.setattr(precision, "_has_bf16", lambda kind: has)
    assert choose_precision("auto") == fastest
    assert choose_precision("fp32") == "fp32"
    assert ("bf16" in native_precisions()) is has


def test_bf16_is_refused_in_one_line_that_says_what_to_use(monkeypatch):
    monkeypatch.setattr(precision, "_has_bf16", lambda kind: False)
    with pytest.raises(InputError, match=r"this processor has no bf16 .*; use fp32 or auto"):
        choose_precision("bf16")


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="precision 'int8' is not one of fp32, bf16, auto"):
        choose_precision("int8")


def test_a_processor_is_asked_through_onednn():
    assert ("bf16" in native_precisions()) == torch.ops.mkldnn._is_mkldnn_bf16_supported()
