"""The language model on a server: vLLM's HTTP interface behind the port `LanguageModel`."""
