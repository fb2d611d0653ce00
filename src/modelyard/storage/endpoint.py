"""The S3 service that keeps the objects where one is configured, and as whom the server comes there."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from botocore.session import Session


class BadEndpoint(Exception):
    """The S3 endpoint cannot be used; the message says what is missing."""


@dataclass(frozen=True)
class S3Endpoint:
    """An S3 service. `session` is botocore's, which finds the credentials and refreshes them."""

    url: str
    region: str
    session: "Session"

    @classmethod
    def at(cls, url: str) -> Self:
        """The service at an address, with the credentials and the region that AWS's tools would take here.

        BadEndpoint if there are no credentials, or if the address is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise BadEndpoint(f"the S3 endpoint {url!r} is not of the form https://host or http://host:port")
        from botocore.session import get_session  # here, since most servers have no such service

        session = get_session()
        if session.get_credentials() is None:
            raise BadEndpoint(
                f"no credentials for the S3 endpoint {url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "AWS_PROFILE, in the server's environment"
            )
        region = session.get_config_variable("region") or os.environ.get("AWS_REGION", "us-east-1")
        return cls(url.rstrip("/"), region, session)

    def client(self) -> Any:
        """A client of botocore's; it takes a while to make."""
        from botocore.config import Config

        style = Config(s3={"addressing_style": "path"})
        return self.session.create_client("s3", endpoint_url=self.url, region_name=self.region, config=style)

    def keys(self) -> dict[str, str | None]:
        """The credentials of this moment, by obstore's names."""
        now = self.session.get_credentials().get_frozen_credentials()
        return {"access_key_id": now.access_key, "secret_access_key": now.secret_key, "token": now.token}
