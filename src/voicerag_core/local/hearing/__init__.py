"""Speech to words and to vectors: Whisper, and the CTC recognizer of the local embedder."""
