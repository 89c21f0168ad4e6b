"""The speech tokenizer of GLM-4-Voice: sound to 12.5 tokens per second."""
