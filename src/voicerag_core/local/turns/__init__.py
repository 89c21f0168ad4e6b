"""Who speaks: voice activity frame by frame, and the rules that make turns of it."""
