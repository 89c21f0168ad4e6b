"""Training of the speech encoder."""
