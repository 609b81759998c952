"""S3 on the loopback, by moto's server, and fsspec told of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import fsspec
import pytest
from moto.server import ThreadedMotoServer

#: Buckets of one process: all its servers share them.
_numbers = count()


@contextmanager
def bucket() -> Iterator[str]:
    """The URL of an empty bucket while the context lasts."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    told = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    with pytest.MonkeyPatch.context() as environ:
        for name, value in told.items():
            environ.setenv(name, value)
        files = fsspec.filesystem("s3")
        name = f"test-{next(_numbers)}"
        files.mkdir(name)
        yield f"s3://{name}"
        files.clear_instance_cache()
    server.stop()
