"""The sample base end to end, start-up, and the source files that a question passes through."""
