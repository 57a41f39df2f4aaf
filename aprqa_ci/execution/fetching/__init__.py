"""Fetching models before they are run: which files, from where, and proof that they are those."""
