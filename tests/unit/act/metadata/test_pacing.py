"""Batches are as long as others can wait, and the pauses long enough for them to get their turn."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlflow_cleanup.act.metadata.pacing import Pace, Pacer


@dataclass
class Clock:
    """Time that passes only when it is told to."""

    now_s: float = 100.0
    slept_s: list[float] = field(default_factory=list)

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds

    def sleep(self, seconds: float) -> None:
        """Pause."""
        self.slept_s.append(seconds)
        self.now_s += seconds

    def pace(self, **more: float) -> Pace:
        """Return the default pace on this clock."""
        return Pace(**more, clock=lambda: self.now_s, sleep=self.sleep)


def batch(
    pacer: Pacer, clock: Clock, each_s: float, commit_s: float, *, others: bool
) -> tuple[int, float]:
    """Carry out one batch of work that takes so long; returns how many and how long the lock."""
    begun, done = clock.now_s, 0
    pacer.begin(0.0, others_wrote=others)
    count = max(pacer.chunk(), 1)
    while count:
        clock.pass_by(count * each_s)
        pacer.removed(count, count * each_s)
        done += count
        count = pacer.chunk()
    clock.pass_by(commit_s)
    pacer.committed(commit_s)
    return done, clock.now_s - begun


def held_s(pacer: Pacer, clock: Clock, each_s: float, commit_s: float, *, others: bool) -> float:
    """Let it learn, and return how long it holds the lock then."""
    held = 0.0
    for _ in range(30):
        _, held = batch(pacer, clock, each_s, commit_s, others=others)
        pacer.rest()
    return held


def test_while_others_write_the_lock_is_held_for_ten_milliseconds() -> None:
    """Whatever a run and a commit cost, as long as one alone takes no longer."""
    for each_s in (0.00001, 0.0001, 0.001, 0.004):
        for commit_s in (0.0001, 0.002, 0.005):
            clock = Clock()
            held = held_s(Pacer(clock.pace()), clock, each_s, commit_s, others=True)
            assert held <= 0.0125, (each_s, commit_s)


def test_one_that_takes_longer_goes_alone() -> None:
    """It cannot be divided: all of its rows go in one transaction."""
    clock = Clock()
    pacer = Pacer(clock.pace())
    held_s(pacer, clock, 0.5, 0.001, others=True)
    assert batch(pacer, clock, 0.5, 0.001, others=True)[0] == 1


def test_after_a_long_one_others_get_a_pause_they_cannot_miss() -> None:
    """Whoever has waited for long looks only every 100 ms."""
    clock = Clock()
    pacer = Pacer(clock.pace())
    batch(pacer, clock, 0.5, 0.001, others=True)
    pacer.rest()
    assert clock.slept_s == [0.13]


def test_alone_batches_grow_and_shrink_when_somebody_comes() -> None:
    """At once, and for ten seconds."""
    clock = Clock()
    pacer = Pacer(clock.pace())
    assert 0.2 < held_s(pacer, clock, 0.0001, 0.001, others=False) <= 0.41
    batch(pacer, clock, 0.0001, 0.001, others=True)
    came_s = clock.now_s
    while clock.now_s - came_s < 9.5:
        assert batch(pacer, clock, 0.0001, 0.001, others=False)[1] < 0.0125
        pacer.rest()
    clock.pass_by(1)
    assert held_s(pacer, clock, 0.0001, 0.001, others=False) > 0.2


def test_a_lock_that_had_to_be_waited_for_shows_others() -> None:
    """They may write nothing after all, and yet they are there."""
    clock = Clock()
    pacer = Pacer(clock.pace())
    held_s(pacer, clock, 0.0001, 0.001, others=False)
    pacer.begin(0.02, others_wrote=False)
    assert 0 < pacer.chunk() * 0.0001 < 0.01


def test_there_is_a_pause_after_each_batch() -> None:
    """Of 30 ms, or none for whoever said so."""
    for rest_s, expected in ((0.03, [0.03] * 5), (0.0, [])):
        clock = Clock()
        pacer = Pacer(clock.pace(rest_s=rest_s))
        for _ in range(5):
            batch(pacer, clock, 0.0001, 0.001, others=True)
            pacer.rest()
        assert clock.slept_s == expected
