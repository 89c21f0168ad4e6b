"""Multilingual text embeddings by multilingual-e5-small, from the 4-bit weights of a package."""
