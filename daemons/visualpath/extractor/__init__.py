"""B*: the extractor daemon, one per extractor, each in its own venv."""
