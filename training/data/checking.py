"""Finding damaged crops before a run rather than in its middle: each is decoded once, and nothing of it kept."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lnclip.errors import ConfigError, ImageError
from lnclip.index import Item
from lnclip.intake import read_image
from training.data.processes import Died, share_out

log = logging.getLogger(__name__)

SHOWN = 3
"""So many damaged crops are named; the report names all."""

LOG_EVERY_S = 10.0


def readable(items: Sequence[Item], max_share: float, report: Path, workers: int) -> list[Item]:
    """The items whose crops can be decoded; the others are listed in ``report`` with the reason.

    Args:
        items: any number of crops.
        max_share: of them that may be damaged.
        report: CSV to write: path, reason. Has no rows when all is well.
        workers: processes, at least 1.

    Raises:
        ConfigError: more are damaged, or all are.
    """
    reasons, last = {}, time.monotonic()
    for number, reason in share_out(make_check, [item.path for item in items], workers):
        reasons[number] = f"decoding it ends the process ({reason.signal_name})" if isinstance(reason, Died) else reason
        if time.monotonic() - last > LOG_EVERY_S:
            last = time.monotonic()
            log.info("%d of %d crops checked", len(reasons), len(items))
    damaged = [(items[number].path, reason) for number, reason in sorted(reasons.items()) if reason]
    report.parent.mkdir(parents=True, exist_ok=True)
    with report.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows([("path", "reason"), *damaged])
    if not damaged:
        return list(items)
    shown = "; ".join(f"{path} ({reason})" for path, reason in damaged[:SHOWN])
    if len(damaged) > max_share * len(items) or len(damaged) == len(items):
        raise ConfigError(
            f"{len(damaged)} of {len(items)} crops cannot be read: {shown}; {report} lists all. Make them again, "
            f"or allow more than {max_share:g} of all with max_unreadable"
        )
    log.warning("%d of %d crops cannot be read and are left out: %s; %s", len(damaged), len(items), shown, report)
    return [item for number, item in enumerate(items) if not reasons[number]]


def make_check() -> Callable[[Path], str]:
    """The work of one process."""
    return why_unreadable


def why_unreadable(path: Path) -> str:
    """What is wrong with a crop's file, or nothing."""
    try:
        read_image(path.read_bytes())
    except OSError as error:
        return f"unreadable: {error.strerror}"
    except ImageError as error:
        return str(error)
    return ""
