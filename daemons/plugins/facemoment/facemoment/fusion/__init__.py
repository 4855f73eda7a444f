"""Decisions about people: which moments are kept. Pure: no clock, no file, no model."""
