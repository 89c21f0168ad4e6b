"""Answers as they are judged: right, wrong or declined, over documents and over mixed passages."""
