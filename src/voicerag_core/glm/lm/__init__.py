"""The language model of GLM-4-Voice: token ids in, token ids out."""
