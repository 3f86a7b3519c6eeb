"""Work shared out over processes, one task at a time each: a process that dies is known by its task.

``concurrent.futures`` gives up all tasks when one process dies, and does not say which it was.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple, TypeVar

from lnclip.errors import LnclipError, SetupError

T = TypeVar("T")
R = TypeVar("R")


class Died(NamedTuple):
    """In place of a result: the process that was at it was killed, by a signal or the system."""

    signal_name: str


def share_out(
    make_work: Callable[[], Callable[[T], R]], tasks: Sequence[T], num_workers: int
) -> Iterator[tuple[int, R | Died]]:
    """Number and result of each task, in the order in which they are done.

    Args:
        make_work: called once in each process, to load what the work needs; can be pickled.
        tasks: can be pickled too.
        num_workers: processes; 1 works in this one.

    Raises:
        LnclipError: that of a task.
        SetupError: a process died before it could start.
        ValueError: there would be no process.
        RuntimeError: a task raised anything else; names the task.
    """
    if num_workers < 1:
        raise ValueError(f"{num_workers} processes do no work")
    if num_workers == 1 or len(tasks) <= 1:
        work = make_work()
        yield from ((number, work(task)) for number, task in enumerate(tasks))
        return
    crew = _Crew(make_work, tasks)
    try:
        for _ in range(min(num_workers, len(tasks))):
            crew.hire()
        while crew.members:
            yield from crew.results()
    finally:
        crew.dismiss()


class _Crew:
    """Processes by the connection to them, each with the number of its task; None: it is starting."""

    def __init__(self, make_work: Callable[[], Callable[[T], R]], tasks: Sequence[T]) -> None:
        self.make_work, self.tasks, self.next = make_work, tasks, 0
        self.members: dict[Connection, tuple[BaseProcess, int | None]] = {}

    def hire(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.make_work), daemon=True)
        process.start()
        theirs.close()  # so that its death closes the pipe
        self.members[ours] = (process, None)

    def results(self) -> Iterator[tuple[int, R | Died]]:
        """Those of the processes that have something to say."""
        ready = wait(list(self.members))
        for connection in [member for member in self.members if member in ready]:
            process, number = self.members[connection]
            try:
                result = connection.recv()
            except (EOFError, ConnectionResetError):
                del self.members[connection]
                process.join()
                yield self._dead(process.exitcode or 0, number)
                if self.next < len(self.tasks):
                    self.hire()
                continue
            if isinstance(result, LnclipError):
                raise result
            self._hand_out(connection, process)
            if number is not None:
                yield number, result

    def _hand_out(self, connection: Connection, process: BaseProcess) -> None:
        if self.next == len(self.tasks):
            del self.members[connection]
            connection.close()  # it ends by itself
            return
        connection.send(self.tasks[self.next])
        self.members[connection] = (process, self.next)
        self.next += 1

    def _dead(self, exit_status: int, number: int | None) -> tuple[int, Died]:
        if number is None:
            raise SetupError(f"a worker process could not start (exit status {exit_status}); try --workers 1")
        if exit_status >= 0:
            raise RuntimeError(f"a worker failed on {self.tasks[number]}: its traceback is above")
        return number, Died(signal.Signals(-exit_status).name)

    def dismiss(self) -> None:
        for process, _ in self.members.values():
            process.terminate()


def _serve(connection: Connection, make_work: Callable[[], Callable[[T], R]]) -> None:
    """A process: tasks in, results out, until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that shares out
    try:
        work = make_work()
        connection.send(None)
        while True:
            connection.send(work(connection.recv()))
    except LnclipError as error:
        connection.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
