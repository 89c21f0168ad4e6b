"""voicerag as tools of the Model Context Protocol."""
