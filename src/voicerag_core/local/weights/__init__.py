"""The weight files of the local stack: packaged, listed in one manifest, verified by sha256."""
