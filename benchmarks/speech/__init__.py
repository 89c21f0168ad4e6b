"""Hearing, finding, reading and speaking of the local stack."""
