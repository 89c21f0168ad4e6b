"""Many callers of GLM-4-Voice at once: run the package, see `__main__.py`."""
