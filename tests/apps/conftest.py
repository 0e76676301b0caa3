"""Fixtures for tests of the command line."""

import logging

import pytest


@pytest.fixture(autouse=True)
def _restored_logging():
    logger, root = logging.getLogger("nmsynth"), logging.getLogger()
    state, root_handlers = (logger.level, logger.propagate), list(root.handlers)
    yield
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(state[0])
    logger.propagate = state[1]
    root.handlers[:] = root_handlers
