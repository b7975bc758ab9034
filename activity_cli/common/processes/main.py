"""The child of `process.py`: runs one function after the other until its parent is gone.

`python -m activity_cli.common.processes.main MODULE...` imports the modules and sends an empty
message when it is ready. A request is (function, args, kwargs); its answer is (result, None, "") or
(None, error, the error's traceback). Nothing heavy is imported here: a function brings what it
needs with its module.
"""

import importlib
import os
import pickle
import sys
import threading
import traceback
from io import FileIO
from queue import SimpleQueue

from activity_cli.common.processes.messages import Message, decode, encode, receive, send


def main() -> None:
    """Answer requests from stdin on what was stdout."""
    # Whatever prints must not get between the messages, so stdin and stdout move elsewhere.
    requests = FileIO(os.dup(0), "r")
    answers = FileIO(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    waiting: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests, waiting), daemon=True).start()
    for module in sys.argv[1:]:
        importlib.import_module(module)
    send(answers, [])
    while True:
        send(answers, _answer(waiting.get()))


def _read_requests(requests: FileIO, waiting: "SimpleQueue[Message]") -> None:
    """Pass requests on. Runs beside the function, to end the process as soon as the parent has.

    The system's own signal for that (PR_SET_PDEATHSIG) would come when the thread that started
    this process ends, and that is often long before the parent does.
    """
    while True:
        try:
            waiting.put(receive(requests))
        except EOFError:
            os._exit(0)


def _answer(request: Message) -> Message:
    try:
        function, args, kwargs = decode(request)
        return encode((function(*args, **kwargs), None, ""))
    except BaseException as error:  # raised again in the parent
        return encode((None, _portable(error), "".join(traceback.format_exception(error))))


def _portable(error: BaseException) -> BaseException:
    """The error, or one that quotes it where it does not survive pickling."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__qualname__}: {error}")
    return error


if __name__ == "__main__":
    main()
