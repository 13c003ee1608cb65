"""Hear that a run is cancelled in the UI: runs of a deployment are ended for us, one of the terminal has to ask."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import get_client
from prefect.runtime import deployment, flow_run

INTERVAL_S = 3.0
SIGNAL = signal.SIGUSR1  # to the main thread; a script's background job does not hear SIGINT


@contextmanager
def interrupted_if_cancelled() -> Iterator[None]:
    """While the block runs, cancelling the current run in the UI acts like Ctrl-C, even where Ctrl-C is ignored."""
    run, ended = flow_run.get_id(), threading.Event()
    if deployment.id or not run or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(SIGNAL, signal.default_int_handler)
    with get_client(sync_client=True) as client:

        def ask() -> None:
            while not ended.wait(INTERVAL_S):
                with contextlib.suppress(Exception):  # what a server that is busy answers; the next answer counts
                    state = client.read_flow_run(run).state
                    if state and state.is_cancelling():
                        os.kill(os.getpid(), SIGNAL)
                        return

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        try:
            yield
        finally:
            ended.set()
            asking.join()
            signal.signal(SIGNAL, before)
