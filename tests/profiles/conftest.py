"""The screen that tests of extraction share."""

import pytest

from tests.profiles.toy import write_screen


@pytest.fixture
def screen(tmp_path):
    """Two plates of three wells with two fields of 2 x 3 crops; some crops hold no cell."""
    return write_screen(tmp_path)
