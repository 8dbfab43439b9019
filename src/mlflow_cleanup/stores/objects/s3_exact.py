"""What only boto3 can ask of S3: every key as it is, versions, and unfinished uploads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlflow_cleanup.stores.base import Unfinished
from mlflow_cleanup.stores.objects.address import Address
from mlflow_cleanup.stores.objects.bucket import PAGE, Found
from mlflow_cleanup.stores.objects.troubles import Kind, Told, Trouble, answered, cleaned
from mlflow_cleanup.stores.objects.versions import Version
from mlflow_cleanup.stores.objects.web import each

if TYPE_CHECKING:
    from mlflow_cleanup.stores.objects.terms import S3Terms


_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class S3Exact:
    """A bucket as boto3 sees it; loaded only when it is needed."""

    def __init__(self, address: Address, terms: S3Terms) -> None:
        self._bucket, self._terms = address.bucket, terms

    def pages(self, prefix: str, after: str) -> Iterator[list[Found]]:
        """See `Exact.pages`."""
        # Left out here, not by the server: some skip a directory's own object with what is before.
        for page in self._paged("list_objects_v2", Prefix=prefix):
            found = (
                Found(one["Key"], one["Size"], one["LastModified"].timestamp())
                for one in page.get("Contents", ())
            )
            yield [one for one in found if one.key > after]

    def delete(self, keys: Sequence[str]) -> dict[str, str]:
        """See `Exact.delete`; a key that XML cannot hold is named by a request of its own."""
        single = [key for key in keys if _NOT_XML.search(key)]
        bulk = [key for key in keys if not _NOT_XML.search(key)]
        try:
            reasons = self._delete([{"Key": key} for key in bulk])
        except Told as error:
            if error.trouble.kind is not Kind.NO_BULK:
                raise
            return each(keys, self._delete_one, together=1)
        return reasons | each(single, self._delete_one, together=1)

    def _delete_one(self, key: str) -> None:
        with _told():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def keeps_versions(self) -> bool:
        """See `Archive.keeps_versions`; yes where that may not be asked."""
        try:
            with _told():
                answer = self._client.get_bucket_versioning(Bucket=self._bucket)
        except Told:
            return True
        return str(answer.get("Status")) == "Enabled"

    def versions(self, prefix: str) -> Iterator[list[Version]]:
        """See `Archive.versions`."""
        for page in self._paged("list_object_versions", Prefix=prefix):
            yield [
                Version(one["Key"], one["VersionId"], one.get("Size", 0))
                for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            ]

    def delete_versions(self, versions: Sequence[Version]) -> dict[str, str]:
        """See `Archive.delete_versions`."""
        rows = [{"Key": one.key, "VersionId": one.id} for one in versions]
        reasons: dict[str, str] = {}
        for start in range(0, len(rows), PAGE):
            reasons.update(self._delete(rows[start : start + PAGE]))
        return reasons

    def uploads(self, prefix: str) -> Iterator[Unfinished]:
        """See `Archive.uploads`."""
        for page in self._paged("list_multipart_uploads", Prefix=prefix):
            for one in page.get("Uploads", ()):
                key, id_ = one["Key"], one["UploadId"]
                parts = self._paged("list_parts", Key=key, UploadId=id_)
                try:
                    size = sum(part["Size"] for some in parts for part in some.get("Parts", ()))
                except Told:
                    continue  # completed or aborted meanwhile
                yield Unfinished(key, id_, one["Initiated"].timestamp(), size)

    def abort(self, upload: Unfinished) -> bool:
        """See `Archive.abort`."""
        try:
            with _told():
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=upload.path, UploadId=upload.id
                )
        except Told as error:
            if error.trouble.kind is Kind.MISSING:
                return False
            raise
        return True

    def _delete(self, objects: Sequence[dict[str, str]]) -> dict[str, str]:
        if not objects:
            return {}
        with _told():
            answer = self._client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": list(objects), "Quiet": True}
            )
        return {
            one["Key"]: f"{one.get('Code', '')}: {one.get('Message', '')}"
            for one in answer.get("Errors", ())
            if one.get("Code") not in ("NoSuchKey", "NoSuchVersion")
        }

    def _paged(self, operation: str, **what: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
        with _told():
            yield from self._client.get_paginator(operation).paginate(Bucket=self._bucket, **what)

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        import boto3
        from botocore.config import Config

        terms, keys = self._terms, self._terms.credentials
        session = boto3.Session(
            aws_access_key_id=keys.get("access_key_id"),
            aws_secret_access_key=keys.get("secret_access_key"),
            aws_session_token=keys.get("session_token"),
            region_name=terms.region or "us-east-1",
            profile_name=None if keys else terms.profile,
        )
        return session.client(
            "s3",
            endpoint_url=terms.endpoint,
            verify=terms.ca_bundle or terms.verifies,
            config=Config(
                s3={"addressing_style": "path" if terms.path_style else "virtual"},
                connect_timeout=5,
                read_timeout=30,
                retries={"max_attempts": 3},
            ),
        )


@contextmanager
def _told() -> Iterator[None]:
    """Turn boto3's errors into what they mean, without what they print."""
    import botocore.exceptions as boto

    try:
        yield
    except boto.ClientError as error:
        said = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise answered(status, said.get("Code", ""), said.get("Message", "")) from None
    except (boto.HTTPClientError, boto.ConnectionError) as error:
        raise Told(Trouble(Kind.BUSY, f"no answer ({type(error).__name__})")) from None
    except boto.BotoCoreError as error:
        raise Told(Trouble(Kind.REFUSED, cleaned(str(error)))) from None
