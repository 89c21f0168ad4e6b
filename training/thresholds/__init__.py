"""Weights and thresholds that are fitted on development questions."""
