"""Running extractors: the host, and what feeds it."""
