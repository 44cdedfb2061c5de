"""What chapters compute beside their visible lines: numbers for claims, parameters."""

import pandas as pd
import pytest

from cpssl_lite.book import compared, parameters
from cpssl_lite.book.panels import NSB, NSBP, P, T


def test_a_chapter_passes_on_the_parameters_that_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "load_features", lambda data, seed=0, label="": locals())
    given = {"data": "x", "label": "y", "thumbnail": 3, "__name__": "chapter"}
    assert parameters.features_of(given, label="") == {"data": "x", "seed": 0, "label": ""}


def test_genes_of_one_feature_type_beside_another() -> None:
    columns = [P, T, NSB, NSBP]
    results = pd.DataFrame([[0.6, 0.3, 0.5, 0.2], [0.4, 0.2, 0.6, 0.1]], ["A", "B"], columns)
    test = pd.Series({f"{T}_p": 0.01, f"{T}_difference": 0.1})
    got = compared.genes(results, ("A", "B"), test)
    assert got["genes-nsb"] == pytest.approx(-0.1)
    assert got["gene-family-map-p"] == {"p": 0.01, "difference": 0.1}
