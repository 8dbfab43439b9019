from __future__ import annotations

import threading

from mlflow_cleanup.stores.objects.flow import (
    GOOD_ONES,
    LARGEST_BATCH,
    LONGEST_PAUSE_S,
    MOST_TOGETHER,
    SMALLEST_BATCH,
    Flow,
    Gate,
)


def test_too_much_halves_and_pauses() -> None:
    """A store that takes no more is asked for half as much, after a pause."""
    flow = Flow()

    flow.was_too_much(flow.epoch)

    assert (flow.batch, flow.together) == (LARGEST_BATCH // 2, MOST_TOGETHER // 2)
    assert flow.pause_s > 0


def test_what_was_in_flight_together_is_one_sign() -> None:
    """Eight requests refused at once do not make it eight times slower."""
    flow = Flow()
    began = flow.epoch

    for _ in range(8):
        flow.was_too_much(began)

    assert flow.batch == LARGEST_BATCH // 2


def test_it_never_stands_still_and_never_waits_for_ever() -> None:
    """However often it is too much, something is asked, and not too late."""
    flow = Flow()
    pauses = []
    for _ in range(50):
        flow.was_too_much(flow.epoch)
        pauses.append(flow.pause_s)

    assert (flow.batch, flow.together) == (SMALLEST_BATCH, 1)
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_it_grows_again_step_by_step() -> None:
    """After some that went well it asks for more, up to where it began."""
    flow = Flow()
    for _ in range(10):
        flow.was_too_much(flow.epoch)

    sizes = []
    for _ in range(GOOD_ONES * 20):
        flow.went_well()
        sizes.append((flow.batch, flow.together))

    assert sizes[GOOD_ONES - 2] == (SMALLEST_BATCH, 1)
    assert sizes[GOOD_ONES - 1] == (SMALLEST_BATCH * 2, 2)
    assert sizes == sorted(sizes)
    assert sizes[-1] == (LARGEST_BATCH, MOST_TOGETHER)
    assert flow.pause_s == 0


def test_no_more_go_through_the_gate_than_the_flow_allows() -> None:
    """Whatever the number of threads, only so many ask at once."""
    gate, inside, most = Gate(Flow(together=2)), [0], [0]
    lock, full = threading.Lock(), threading.Barrier(2, timeout=30)

    def ask() -> None:
        with gate:
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            full.wait()
            with lock:
                inside[0] -= 1

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert most == [2]
    assert inside == [0]
