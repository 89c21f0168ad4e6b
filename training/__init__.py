"""Training of the shipped weights and thresholds; never imported by voicerag."""
