"""Work ahead: what an iterator gives is prepared by a thread while the last is in use."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
DEPTH = 2


class _End:
    """Comes after the last item; `error` is what ended the work early."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(source: Iterator[T], depth: int = DEPTH) -> Iterator[T]:
    """Yield what `source` gives, up to `depth` items being ready before they are asked for.

    An error of `source` is raised where its item would have come. When the consumer stops early,
    so does the thread.
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
        except BaseException as error:  # noqa: BLE001  # handed to the consumer
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
