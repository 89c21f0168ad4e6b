"""Text to speech by Piper, in a process of its own."""
