"""A: the frame daemon, one per stream. Reads the source, owns the ring, tells about each frame."""
