"""Whether the extractors that answer look at enough frames, and give what the rules read."""

from __future__ import annotations

from visualpath.core.health import FRAMES_ENOUGH, SHARE_MIN
from visualpath.ctl.checks.finding import Examined, Findings, ok, warning
from visualpath.ctl.rule_signals import never_gave, signals_of
from visualpath.runtime.config import Config
from visualpath_protocol.endpoints import extractor_daemon


def check_extractors(examined: Examined) -> Findings:
    """Who is far too slow for its streams, and which signals of the rules nobody has given."""
    findings = [*_check_pace(examined), *_check_signals(examined)]
    yield from findings
    if not findings and any(status is not None and "extractor" in status for status in examined.statuses.values()):
        yield ok("the extractors that answer keep up, and give what the rules read")


def _check_pace(examined: Examined) -> Findings:
    """Frames that `keyframe_only` and `instances` leave out are no skips, and not counted here."""
    for name in examined.config.extractors:
        daemon = extractor_daemon(name)
        status = examined.statuses.get(daemon)
        counters = status.get("counters", {}) if status is not None else {}
        looked, passed_over = counters.get("sent.obs", 0), counters.get("skipped.backpressure", 0)
        frames = looked + passed_over
        if status is None or frames < FRAMES_ENOUGH or looked >= SHARE_MIN * frames:
            continue
        p50_ms = status["extractor"]["latency_ms"]["p50"]
        pace = f"; from capture to its answer p50 {p50_ms:.0f} ms" if p50_ms is not None else ""
        yield warning(
            f"{daemon} is too slow: it has looked at {looked} of {frames} frames ({100 * looked / frames:.1f} %){pace}",
            f"a faster model, `instances`, or `drop: keyframe_only` with `every` if so few are enough, "
            f"in {examined.config.path}: extractors.{examined.config.extractors[name].group}",
        )


def _check_signals(examined: Examined) -> Findings:
    config = examined.config
    for rule in config.fusion.rules if config.fusion.plugin == "rules" else ():
        for source, signal in signals_of(rule):
            given = _given(config, examined, source)
            if given is not None and signal not in given:
                yield warning(
                    never_gave(rule, (source, signal), given),
                    f"mend the name in {config.path}: fusion.rules, if it is wrong; else nothing has shown it yet",
                )


def _given(config: Config, examined: Examined, source: str) -> set[str] | None:
    """The signals that an extractor, in all its instances, has given; None: that cannot be told, or not yet."""
    names = [name for name, extractor in config.extractors.items() if extractor.group == source]
    told = [status for name in names if (status := examined.statuses.get(extractor_daemon(name))) is not None]
    given = [status.get("extractor", {}).get("signals") for status in told]
    frames = sum(status.get("counters", {}).get("sent.obs", 0) for status in told)
    if frames < FRAMES_ENOUGH or None in given:
        return None
    return {signal for each in given for signal in each}
