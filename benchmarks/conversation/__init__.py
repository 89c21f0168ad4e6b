"""Conversations: follow-up questions and interruptions."""
