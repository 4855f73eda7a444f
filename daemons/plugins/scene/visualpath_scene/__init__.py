"""Plug-in that finds the cuts between scenes."""
