"""Answers quoted from passages, or written by a chat model."""
