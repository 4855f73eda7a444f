"""Weights that extractors need: which there are, where they lie, and how they get there."""
