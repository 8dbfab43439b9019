from __future__ import annotations

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from mlflow_cleanup.stores.objects.troubles import Kind, answered, cleaned, explain

_LIST = "Generic S3 error: Error performing GET http://host/bucket?X-Amz-Signature=abc in 1ms - "


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            GenericError(_LIST + "status code: 404 Not Found: <Code>NoSuchBucket</Code>"),
            Kind.NO_STORE,
        ),
        (
            GenericError(_LIST + "status code: 503 Service Unavailable: <Code>SlowDown</Code>"),
            Kind.BUSY,
        ),
        (GenericError(_LIST + "status code: 429 Too Many Requests: "), Kind.BUSY),
        (
            GenericError(_LIST + "status code: 403 Forbidden: <Code>ExpiredToken</Code>"),
            Kind.REFUSED,
        ),
        (PermissionDeniedError("lacked the privileges"), Kind.REFUSED),
        (GenericError("failed for key a: no (code: AccessDenied)"), Kind.REFUSED),
        (FileNotFoundError("Object at location a not found"), Kind.MISSING),
        (GenericError("x Debug source: kind: Timeout,"), Kind.BUSY),
        (GenericError("x Debug source: kind: Connect,"), Kind.NO_STORE),
        (answered(503, "SlowDown", ""), Kind.BUSY),
        (answered(404, "NoSuchKey", ""), Kind.MISSING),
    ],
    ids=str,
)
def test_errors_are_told_apart_by_what_can_be_done(error: Exception, kind: Kind) -> None:
    """What is busy is asked again, what is missing is done, what is refused stays."""
    assert explain(error).kind is kind


@pytest.mark.parametrize(
    "secret",
    [
        "https://host/a?X-Amz-Signature=SECRET&X-Amz-Credential=SECRET",
        "Signature=SECRET",
        "AccountKey=SECRET;x",
        "sig=SECRET",
        "password: SECRET",
        "aws_secret_access_key = SECRET",
        "AKIAABCDEFGHIJKLSECRET",
        "eyJhbGciOiJIUzI1NiSECRETxyz.abc",
    ],
)
def test_texts_hold_no_secret(secret: str) -> None:
    """Whatever a store sends back, what looks like a secret is not passed on."""
    assert "SECRET" not in cleaned(f"it said {secret} and more")
    assert "SECRET" not in explain(GenericError(f"it said {secret}")).text


def test_texts_are_short_and_of_one_line() -> None:
    """A store's answer is a sentence here, not a page."""
    text = cleaned("word\n\t" * 500)

    assert len(text) <= 200
    assert "\n" not in text
