"""Prefetch: a thread prepares the next items of an iterator while the last one is in use."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
DEPTH = 2


class _End:
    """Follows the last item; `error` is the exception that ended the work early."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(source: Iterator[T], depth: int = DEPTH) -> Iterator[T]:
    """Yield the items of `source`, of which a thread prepares up to `depth` in advance.

    An error of `source` is raised in place of its item. When the consumer stops early, so does the
    thread.
    """
    ready: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    room, stopped = threading.Semaphore(depth), threading.Event()

    def work() -> None:
        end = _End()
        try:
            for item in source:
                room.acquire()
                if stopped.is_set():
                    return
                ready.put(item)
        except BaseException as error:  # noqa: BLE001  # raised in the consumer
            end = _End(error)
        ready.put(end)

    thread = threading.Thread(target=work, name="loader", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            room.release()
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        room.release()
        thread.join()
