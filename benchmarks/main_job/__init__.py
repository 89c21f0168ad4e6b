"""The main job on the sample base, start-up, and the way of a question through the files."""
