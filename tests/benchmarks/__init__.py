"""Measurements; run by hand, never as timed assertions."""
