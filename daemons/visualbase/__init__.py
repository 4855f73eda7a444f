"""Media layer: pictures, sources, the ring of recent frames, clips.

Nothing is imported eagerly, so that `visualbase.frame` stays usable where no media library is installed.
"""
