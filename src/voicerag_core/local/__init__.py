"""The local stack: CPU only, no torch, every weight file packaged and checked by its hash."""
