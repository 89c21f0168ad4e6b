"""Questions spoken by synthesisers, the same on every machine that has them, and made harder."""
