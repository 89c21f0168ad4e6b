"""Adapters of voicerag for other frameworks; import the one you use."""
