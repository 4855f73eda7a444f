"""What is written in the files of ../shared/media, read by a person; ground_truth.json has most of it in short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

COPYRIGHT = "Copyright © 2013 Brandon Castellano www.bcastell.com"
OPERA = "ROYAL OPERA HOUSE"
BOOK = """
technical details are too complex to cover in the book itself.
In teaching our courses, we have found it useful for the students to attempt a number of
small implementation projects, which often build on one another, in order to get them used to
working with real-world images and the challenges that these present. The students are then
asked to choose an individual topic for each of their small-group, final projects. (Sometimes
these projects even turn into conference papers!) The exercises at the end of each chapter
contain numerous suggestions for smaller mid-term projects, as well as more open-ended
problems whose solutions are still active research topics. Wherever possible, I encourage
students to try their algorithms on their own personal photographs, since this better motivates
them, often leads to creative variants on the problems, and better acquaints them with the
variety and complexity of real-world imagery.
In formulating and solving computer vision problems, I have often found it useful to draw
inspiration from three high-level approaches:
"""
PAGE = """
Region-based segmentation
Let us first determine markers of the coins and the
background. These markers are pixels that we can label
unambiguously as either object or background. Here,
the markers are found at the two extreme parts of the
histogram of grey values:
>>> markers = np.zeros_like(coins)
"""
"""Without the line below, of which the picture's edge leaves the upper half of some letters."""

COPYRIGHT_FROM_S = 0.3
"""Before that it fades in from black."""
COUNTS_A_S = 3.0
"""Numbers a second of wpt_counting.mp4."""
MARGIN_S = 0.02
"""So near to a change of the text it is not said what stands there."""


@dataclass(frozen=True)
class Written:
    """What is written in one file.

    Attributes:
        at: what, at a time in seconds; None: nothing, or it is not sure.
        whole: it is all the text that is there; else it is what stands out.
    """

    at: Callable[[float], str | None]
    whole: bool = True


def always(text: str) -> Callable[[float], str]:
    """The same all the time."""
    return lambda _: text


def notice(t_s: float) -> str | None:
    """What psd_testvideo.mp4 shows."""
    return COPYRIGHT if t_s > COPYRIGHT_FROM_S else None


def number(t_s: float, first_s: float = 0.0) -> str | None:
    """What wpt_counting.mp4 shows: n from (n - 1) / 3 to n / 3 s."""
    count = (t_s - first_s) * COUNTS_A_S
    return str(int(count) + 1) if abs(count - round(count)) > MARGIN_S * COUNTS_A_S else None


def counter(t_s: float) -> str:
    """What psd_counter.mp4 shows, at 10 frames a second."""
    frame = round(t_s * 10)
    return f"Frame = {frame + 1} PTS = {frame / 10:.1f}s"


def composed(t_s: float) -> str | None:
    """composed_scenes_A.mp4: other files, joined."""
    scenes = ((0, 4, notice), (10, 14, always(OPERA)), (14, 17, lambda t_s: number(t_s, 14)))
    return next((text(t_s) for start, end, text in scenes if start + MARGIN_S < t_s < end - MARGIN_S), None)


WRITTEN = {
    "img_cv_imageTextN.png": Written(always(BOOK)),
    "img_sk_page.png": Written(always(PAGE)),
    "psd_counter.mp4": Written(counter),
    "wpt_counting.mp4": Written(number),
    "psd_testvideo.mp4": Written(notice),
    "facenet_video.mp4": Written(always(OPERA), whole=False),
    "fps2_crowd_faces.mp4": Written(always(OPERA), whole=False),
    "composed_scenes_A.mp4": Written(composed, whole=False),
}
