from __future__ import annotations

from dataclasses import dataclass

import pytest

from mlflow_cleanup.observe.budget import SAVED_S, SHARE, Budget


@dataclass
class Hands:
    """Wall time and processor time, moved by hand."""

    wall_s: float = 100.0
    cpu_s: float = 7.0

    def spend(self, budget: Budget, cpu_s: float, wall_s: float = 0.0) -> None:
        """Do something that takes so long."""
        with budget.spend(cpu=lambda: self.cpu_s):
            self.cpu_s += cpu_s
            self.wall_s += wall_s


@pytest.fixture
def hands() -> Hands:
    """Return the two clocks."""
    return Hands()


def budget_of(hands: Hands) -> Budget:
    """Make a budget of 2 % with 5 s saved up."""
    return Budget(share=0.02, saved_s=5.0, clock=lambda: hands.wall_s)


def test_a_burst_is_answered_at_once(hands: Hands) -> None:
    """What was saved up may be spent without waiting, to the last."""
    budget = budget_of(hands)

    for _ in range(5):
        assert budget.wait_s() == 0
        hands.spend(budget, 1.0)

    assert budget.wait_s() == 0


def test_what_was_overdrawn_is_waited_for(hands: Hands) -> None:
    """One processor second too many costs fifty at 2 %."""
    budget = budget_of(hands)
    hands.spend(budget, 6.0)

    assert budget.wait_s() == pytest.approx(50.0)
    hands.wall_s += 49.0
    assert budget.wait_s() == pytest.approx(1.0)
    hands.wall_s += 1.0
    assert budget.wait_s() == pytest.approx(0.0, abs=1e-6)


def test_no_more_is_saved_than_the_limit(hands: Hands) -> None:
    """A night of idling buys no longer burst than a few minutes do."""
    budget = budget_of(hands)
    hands.wall_s += 100_000.0
    hands.spend(budget, 6.0)

    assert budget.wait_s() == pytest.approx(50.0)


def test_time_that_passes_while_working_counts(hands: Hands) -> None:
    """A slow read earns its share while it runs."""
    budget = budget_of(hands)
    hands.spend(budget, 5.0)
    hands.spend(budget, 1.0, wall_s=25.0)

    assert budget.wait_s() == pytest.approx(25.0)


def test_work_that_fails_is_charged_too(hands: Hands) -> None:
    """An error in a read does not make it free."""
    budget = budget_of(hands)

    def fail() -> None:
        with budget.spend(cpu=lambda: hands.cpu_s):
            hands.cpu_s += 6.0
            raise OSError("in the middle")

    with pytest.raises(OSError, match="in the middle"):
        fail()

    assert budget.wait_s() == pytest.approx(50.0)


def test_over_a_day_no_more_than_the_share_is_used(hands: Hands) -> None:
    """However often it is asked, the sum stays within share and savings."""
    budget, used_s, begun_s = budget_of(hands), 0.0, hands.wall_s
    while hands.wall_s < begun_s + 86_400:
        hands.wall_s += max(budget.wait_s(), 2.0)
        hands.spend(budget, 0.7)
        used_s += 0.7

    assert used_s <= 0.02 * (hands.wall_s - begun_s) + 5.0 + 0.7


def test_the_usual_budget_is_two_per_cent() -> None:
    """The figures that users are promised."""
    assert (SHARE, SAVED_S) == (0.02, 5.0)
    assert Budget().wait_s() == 0
