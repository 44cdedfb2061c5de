"""Fixtures of the cases."""

from tests.cases.tables import cpssl as cpssl
