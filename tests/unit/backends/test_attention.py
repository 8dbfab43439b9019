from __future__ import annotations

from mlflow_cleanup.backends.attention import DOUBT_S, Attention


class Told:
    """An attention with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s, self.gate, self.rows = 1_000.0, 0, 0
        self._attention = Attention(lambda: self.now_s)
        assert self.looks()

    def looks(self, *, after_s: float = 2.0) -> bool:
        """Look after a while."""
        self.now_s += after_s
        return self._attention.is_called_for(self.gate, self.rows)


def test_silence_calls_for_nothing() -> None:
    """Where nothing was committed nothing is read, however long it lasts."""
    told = Told()
    told.looks(after_s=DOUBT_S)

    assert not any(told.looks() for _ in range(100))


def test_the_first_commit_in_a_while_is_looked_at_at_once() -> None:
    """It may be a delete that is not counted yet."""
    told = Told()
    told.looks(after_s=DOUBT_S)
    told.looks(after_s=DOUBT_S)
    told.gate += 1

    assert told.looks()
    assert not told.looks()


def test_runs_that_were_written_to_are_looked_at_at_once() -> None:
    """However much else goes on."""
    told = Told()
    for _ in range(10):
        told.gate += 1
        told.looks()
    told.rows += 1

    assert told.looks()


def test_what_others_write_is_looked_at_seldom() -> None:
    """A commit every second calls for a read every eleven seconds, not for one each."""
    told = Told()
    reads = 0
    for _ in range(110):
        told.gate += 1
        reads += told.looks(after_s=1.0)

    assert 9 <= reads <= 11


def test_what_was_put_off_is_made_up_for() -> None:
    """A server that counts nothing loses no delete: it is read for when the time is over."""
    told = Told()
    told.looks(after_s=DOUBT_S)
    told.gate += 1
    told.looks()
    told.gate += 1

    looks = [told.looks(after_s=1.0) for _ in range(20)]

    assert looks.count(True) == 1


def test_a_server_that_is_away_is_noticed_once() -> None:
    """Going and coming back are changes."""
    told = Told()
    attention = told._attention

    assert attention.is_called_for(None, None)
    assert not attention.is_called_for(None, None)
    assert told.looks()
