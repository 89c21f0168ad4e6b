"""Sets of questions, their sound, runs, scores and reports; thresholds of a collection."""
