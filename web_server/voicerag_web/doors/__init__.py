"""The doors that answer one request each."""
