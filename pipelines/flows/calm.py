"""Prefect logs every end of a task but success as an error; being stopped, or not started at all, is none."""

import logging
import re

ENDED = re.compile(r"Finished in state (Cancelled|NotReady)\(")


def calm(record: logging.LogRecord) -> bool:
    """True, so that every record is kept; the end of a stage that was stopped or not started becomes information."""
    if record.levelno == logging.ERROR and ENDED.match(record.getMessage()):
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
    return True
