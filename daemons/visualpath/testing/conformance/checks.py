"""The checks by name, in their order, and what each asks of the plug-in, in a few words."""

from __future__ import annotations

from visualpath.testing.conformance.verdict import Kind

EXTRACTOR = {
    "class": "name, version and what it asks for",
    "config": "made as configured; a mistyped key refused",
    "start": "models load, a first frame is looked at",
    "observations": "what it says can travel, rules can read it",
    "frame": "pixels left as they were, frames not piled up",
    "reset": "the same frames after reset(), the same observations",
    "streams": "streams share no state",
    "odd frames": "tiny, portrait, black, large, changing sizes",
    "errors": "a frame that fails costs no other",
    "memory": "no growth over the long run",
    "time": "per frame",
    "output": "next to nothing printed",
    "close": "no thread, child or file left behind",
    "process": "signals, locale, folder of the process as before",
    "network": "none needed",
}
FUSION = {
    "class": "name, and whose observations it needs",
    "config": "made as configured; a mistyped key refused",
    "update": "what it decides can travel",
    "reset": "the same sets after reset(), the same triggers",
    "resume": "the same triggers after a restart",
    "streams": "streams share no state",
    "odd sets": "dead, unknown and silent extractors",
    "memory": "no growth over the long run",
    "time": "per set",
    "output": "next to nothing printed",
    "process": "signals, locale, folder of the process as before",
    "network": "none needed",
}
BY_KIND: dict[Kind, dict[str, str]] = {"extractor": EXTRACTOR, "fusion": FUSION}

VITAL = frozenset({"class", "start", "observations", "update", "time"})
"""Where one of these fails, the rest would say no more."""
LONG_RUN = frozenset({"memory", "time", "output"})
"""One run of a thousand frames: a plug-in that does not survive it is told so once."""
