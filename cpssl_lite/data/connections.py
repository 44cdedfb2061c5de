"""HTTP connections that can be ended from another thread, also while they wait for a byte."""

import socket
import threading
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Lines:
    """The socket that each thread has its last request on."""

    def __init__(self) -> None:
        self.open: dict[int, socket.socket] = {}

    def session(self) -> requests.Session:
        """A session whose connections are noted here."""
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(self))
        return session

    def hang_up(self, thread: int | None = None) -> None:
        """End what a thread [default: every thread] is waiting for: it gets an error at once."""
        lines = list(self.open.values()) if thread is None else [self.open.get(thread)]
        for line in lines:
            if line is not None:
                with suppress(OSError):  # it has ended already
                    line.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Requests' own, over pools of connections that say which socket they use."""

    def __init__(self, lines: Lines) -> None:
        self.kinds = {
            "http": _noting(HTTPConnectionPool, lines),
            "https": _noting(HTTPSConnectionPool, lines),
        }
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self.kinds

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self.kinds
        return manager


def _noting(pool: Any, lines: Lines) -> type:
    """A kind of pool whose connections note their socket under the thread that asks."""

    class Connection(pool.ConnectionCls):  # type: ignore[misc,name-defined]
        def request(self, *args: Any, **kwargs: Any) -> None:
            super().request(*args, **kwargs)  # opens the socket where it is not open yet
            if self.sock is not None:
                lines.open[threading.get_ident()] = self.sock

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})
