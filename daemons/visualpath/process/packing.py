"""What an extractor said, in the form in which an OBS carries it."""

from __future__ import annotations

from typing import Any

import msgspec

from visualpath.core.errors import ExtractionError, told
from visualpath.core.observation import Observation
from visualpath.process.channel import bodies
from visualpath_protocol.codec import pack
from visualpath_protocol.messages import ObservationBody
from visualpath_protocol.sockets import OBSERVATIONS

ENVELOPE_BYTES = 4096
"""More than everything in an OBS but its observations."""


def pack_observations(observations: list[Observation[Any]]) -> msgspec.Raw:
    """What goes into an OBS, as bytes: the plug-in may change its objects as soon as this returns.

    Raises:
        ExtractionError: data that has no form on the wire, that fusion would not take, or whose own code raised.
    """
    try:
        packed = pack(bodies(observations), list[ObservationBody])
    except Exception as error:
        raise ExtractionError(f"data cannot be sent: {told(error)}") from error
    size_bytes = len(bytes(packed))
    if size_bytes > OBSERVATIONS.max_bytes - ENVELOPE_BYTES:
        raise ExtractionError(f"data cannot be sent: {size_bytes} bytes, fusion takes {OBSERVATIONS.max_bytes} in all")
    return packed
