"""GLM-4-Voice: the language model and the speech decoder."""
