"""Answers read out of passages, or worded by a chat model."""
