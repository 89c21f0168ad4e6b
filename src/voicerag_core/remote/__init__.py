"""Models behind a URL: endpoints of the OpenAI form and its relatives, as parts of the pipeline."""
