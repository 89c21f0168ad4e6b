"""From the sentence that was chosen to what is quoted."""
