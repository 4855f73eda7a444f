"""Plug-in that reads text in pictures."""
