"""Executable companion to 'Self-supervision advances morphological profiling'.

The rooms are imported by name (``from cpssl_lite.metrics import ...``); this file stays
empty of imports so that ``import cpssl_lite`` costs nothing.
"""

__version__ = "0.1.0"
