"""Extractors about people and picture quality.

Nothing is imported eagerly: a venv without MediaPipe can still run `quality`.
"""
