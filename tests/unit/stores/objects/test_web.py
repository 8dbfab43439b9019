"""What breaks an answer off is told as a trouble, and no signature with it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mlflow_cleanup.stores.objects import gcs
from mlflow_cleanup.stores.objects.azure_exact import AzureExact
from mlflow_cleanup.stores.objects.clock import lag_of
from mlflow_cleanup.stores.objects.terms import AzureTerms
from mlflow_cleanup.stores.objects.troubles import Kind, Told
from mlflow_cleanup.stores.objects.web import ask


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """Answer one request with these bytes, and close."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(reply)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join()


BROKEN = (
    b"no HTTP at all\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
)


@pytest.mark.parametrize("reply", BROKEN)
def test_answer_that_breaks_off_is_no_answer(reply: bytes) -> None:
    """It may be asked again."""
    with answering(reply) as url, pytest.raises(Told) as caught:
        ask("GET", url, {})

    assert caught.value.trouble.kind is Kind.BUSY


def test_refusal_that_breaks_off_is_one() -> None:
    """Its status says enough."""
    reply = b"HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nabc"
    with answering(reply) as url, pytest.raises(Told) as caught:
        ask("GET", url, {})

    assert caught.value.trouble.kind is Kind.REFUSED


def test_clock_of_what_speaks_no_http_is_unknown() -> None:
    """It is taken for ours."""
    with answering(BROKEN[0]) as url:
        assert lag_of(url) == 0


def test_signature_that_makes_no_url_is_not_shown() -> None:
    """As one that was copied with a space in it."""
    terms = AzureTerms("account", "http://127.0.0.1:9", signature="sv=1&sig=TOP SECRET")
    with pytest.raises(Told) as caught:
        AzureExact("box", terms).has("a/")

    assert "SECRET" not in str(caught.value)


def test_google_without_credentials_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its library's own error is none of a store's."""
    google = pytest.importorskip("google.auth")

    def default(**_: object) -> None:
        raise google.exceptions.DefaultCredentialsError("none were found")

    monkeypatch.setattr("google.auth.default", default)
    token = gcs._token()
    assert token is not None
    with pytest.raises(Told, match="none were found"):
        token()
