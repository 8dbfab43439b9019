"""Ages on a store whose clock is not ours."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from email.utils import formatdate
from typing import Any

import pytest

from mlflow_cleanup.model.inventory import Listed
from mlflow_cleanup.stores.objects.clock import lag_of
from tests.kit.grounds import always, place
from tests.kit.object_grounds import ObjectGround
from tests.kit.servers.proxy import Proxy

HOUR_S = 3_600


def shift(by_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server's clock be wrong by so much, in its answers and in what it lists."""
    answer = Proxy.answer

    def shifted(proxy: Proxy, *given: Any) -> Any:  # noqa: ANN401 - as it is
        reply, headers = answer(proxy, *given)

        def moved(match: re.Match[bytes]) -> bytes:
            then = datetime.fromisoformat(match[1].decode().replace("Z", "+00:00"))
            told = (then + timedelta(seconds=by_s)).isoformat().replace("+00:00", "Z")
            return b"<LastModified>" + told.encode() + b"</LastModified>"

        body = re.sub(rb"<LastModified>(.*?)</LastModified>", moved, reply.body)
        others = [(name, value) for name, value in headers if name != "Date"]
        return type(reply)(reply.status, body), others

    monkeypatch.setattr(Proxy, "answer", shifted)
    monkeypatch.setattr(
        "tests.kit.servers.proxy._Handler.date_time_string",
        lambda *_: formatdate(time.time() + by_s, usegmt=True),
    )


@pytest.mark.parametrize("by_s", [-HOUR_S, 0, HOUR_S])
def test_what_was_written_just_now_is_never_old(
    faulty_ground: ObjectGround, monkeypatch: pytest.MonkeyPatch, by_s: float
) -> None:
    """A clock an hour behind, or ahead, makes nothing look older than it is."""
    began = time.time()
    faulty_ground.put(place(faulty_ground), {"x": b"1"})
    shift(by_s, monkeypatch)
    store = faulty_ground.store()

    newest = store.newest_write(place(faulty_ground))
    listed = [
        one.newest for one in store.listing(None, always) if isinstance(one, Listed) and one.files
    ]

    assert newest is not None
    assert newest >= began - 2
    assert listed == [newest]
    assert store.newest_times(place(faulty_ground)) == (newest, newest)


def test_clock_that_cannot_be_read_is_taken_for_ours() -> None:
    """Nobody there, or no clock: nothing is added."""
    assert lag_of("http://127.0.0.1:1") == 0
    assert lag_of("") == 0


def test_clock_within_a_minute_is_ours(proxy: Proxy) -> None:
    """Answers take their time; a minute is nobody's age."""
    assert lag_of(proxy.endpoint) == 0
    assert lag_of(proxy.endpoint, lambda: time.time() + 3_601) in (3_660, 3_600)
