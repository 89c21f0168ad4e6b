"""Measurements of voicerag, run from the project root: ``python -m benchmarks.ROOM.SCRIPT``."""
