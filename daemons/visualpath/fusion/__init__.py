"""C: the fusion daemon. Aligns what the extractors say on each stream's time line, and decides."""
