"""Questions with known answers: sets, runs, metrics, reports, and thresholds chosen by them."""
