"""visualpath: keeps the moments that matter in live video on an edge box.

Nothing is imported eagerly: each daemon, and each plug-in, pays only for what it uses.
"""
