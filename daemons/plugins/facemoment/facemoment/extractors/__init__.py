"""One module per extractor; each imports its own model stack only when its models are loaded."""
