"""The engine beside a device that only waits: run the package, see `__main__.py`."""
