"""Which change from one picture to the next is a cut. Pure Python."""

from __future__ import annotations


class CutJudge:
    """Tells cuts from motion, at once: by what came before alone.

    A cut is a change that is large, and much larger than the change just before it. So a camera that is panned, whose
    pictures all differ from one another, gives none; and as it compares like with like, it holds for pictures at
    any distance in time, where everything changes more.

    Args:
        threshold: changes below this are no cuts; in the unit of the scores.
        ratio: nor are those below this many times the change just before.
        min_scene_ns: nor is one within this time (ns of event time) after the last cut.
    """

    def __init__(self, threshold: float, ratio: float, min_scene_ns: int) -> None:
        self._threshold = threshold
        self._ratio = ratio
        self._min_scene_ns = min_scene_ns
        self.reset()

    def reset(self) -> None:
        """Forget all: a new epoch has begun."""
        self._before: float | None = None
        self._last_cut_ns: int | None = None

    def is_cut(self, score: float | None, t_ns: int) -> bool:
        """Judge one picture.

        Args:
            score: how much it differs from the one looked at before it; None: there is nothing to compare it with.
            t_ns: its event time, above that of the picture before.
        """
        before, self._before = self._before, score
        if score is None or before is None or score < self._threshold or score < self._ratio * before:
            return False
        if self._last_cut_ns is not None and t_ns - self._last_cut_ns < self._min_scene_ns:
            return False
        self._last_cut_ns = t_ns
        return True
