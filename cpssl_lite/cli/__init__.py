"""The front door: a thin command per step; no logic."""
