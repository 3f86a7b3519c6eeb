import os
import signal
from collections.abc import Callable

import pytest

from lnclip.errors import ConfigError, SetupError
from training.data.processes import Died, share_out


def make_doubler() -> Callable[[int], int]:
    return work


def work(number: int) -> int:
    """Doubles, but kills its process at 3, refuses 30, and has a fault at 300."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 30:
        raise ConfigError("thirty")
    return number * 2 if number != 300 else 1 // 0


def make_nothing() -> Callable[[int], int]:
    os._exit(7)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_each_task_is_done_once(num_workers):
    assert sorted(share_out(make_doubler, [5, 6, 7, 8, 9], num_workers)) == [
        (0, 10),
        (1, 12),
        (2, 14),
        (3, 16),
        (4, 18),
    ]


def test_no_tasks_are_no_work():
    assert list(share_out(make_doubler, [], 2)) == []


def test_a_process_that_is_killed_is_known_by_its_task_and_replaced():
    assert sorted(share_out(make_doubler, [3, 1, 3, 2], 2)) == [
        (0, Died("SIGKILL")),
        (1, 2),
        (2, Died("SIGKILL")),
        (3, 4),
    ]


def test_an_error_on_purpose_is_handed_on():
    with pytest.raises(ConfigError, match="thirty"):
        list(share_out(make_doubler, [1, 30, 2], 2))


def test_a_fault_names_its_task(capfd):
    with pytest.raises(RuntimeError, match="a worker failed on 300: its traceback is above"):
        list(share_out(make_doubler, [1, 300, 2], 2))
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_processes_that_cannot_start_are_told():
    with pytest.raises(SetupError, match=r"could not start \(exit status 7\)"):
        list(share_out(make_nothing, [1, 2], 2))


def test_no_process_is_no_way_to_work() -> None:
    with pytest.raises(ValueError, match="0 processes do no work"):
        list(share_out(make_doubler, [1, 2], 0))
