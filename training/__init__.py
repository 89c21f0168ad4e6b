"""Where the shipped weights and thresholds come from; nothing here is imported by voicerag."""
