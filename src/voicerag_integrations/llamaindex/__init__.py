"""voicerag for LlamaIndex."""
