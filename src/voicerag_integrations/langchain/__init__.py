"""voicerag for LangChain."""
