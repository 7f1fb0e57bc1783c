"""Contestants that take turns in one process, so that a noisy neighbour slows all of them alike."""

import statistics
import time
from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]


def race(
    steps: dict[str, Step], rounds: int, seconds: float, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Return the milliseconds per step of each contestant in each round.

    Args:
        steps: One step of each contestant.
        rounds: How often all take their turn, every second time in reverse order.
        seconds: The length of a turn.
        clock: What is read: CPU time of the process, or ``time.perf_counter`` where threads are to help.
    """
    repeats = {}
    for name, step in steps.items():
        step()
        start = clock()
        step()
        repeats[name] = max(1, round(seconds / max(clock() - start, 1e-5)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds):
        for name in list(steps)[:: 1 if turn % 2 else -1]:
            start = clock()
            for _ in range(repeats[name]):
                steps[name]()
            times[name].append(1e3 * (clock() - start) / repeats[name])
    return times


def times_faster(peer: list[float], own: list[float]) -> dict[str, float]:
    """Return how many times faster we are: the median, least and most of the rounds, and the ratio of the best rounds.

    The best rounds are those that a neighbour disturbed least: they count where wall time is measured.
    """
    ratios = [theirs / ours for theirs, ours in zip(peer, own, strict=True)]
    return {
        "median": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "best": min(peer) / min(own),
    }
