"""Leaves processes behind in the way that is asked for; prints `ready` when they run. Then exits, or waits for ever.

HOW is one of the functions below; WHAT is `exit` (with the promise) or `stay`.
"""

import os
import signal
import sys
import time

FOREVER = 1000


def sleep() -> None:
    time.sleep(FOREVER)
    os._exit(0)


def child() -> None:
    """A child that holds the pipes."""
    if os.fork() == 0:
        sleep()


def session() -> None:
    """A child in a session of its own, as agents do for their shells."""
    if os.fork() == 0:
        os.setsid()
        sleep()


def daemon() -> None:
    """The classic: double fork, a session of its own, no pipes."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir("/")
            for fd in range(3):
                os.close(fd)
            os.open("/dev/null", os.O_RDWR)
            sleep()
        os._exit(0)
    os.wait()


def stubborn() -> None:
    """SIGTERM, SIGHUP and SIGINT are ignored by all of a small family."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for _ in range(3):
        session()


def stopped() -> None:
    """A process that is stopped cannot even ignore SIGTERM."""
    if os.fork() == 0:
        os.setsid()
        os.kill(os.getpid(), signal.SIGSTOP)
        sleep()


def storm() -> None:
    """Processes that fork on and on, each in a session of its own, and exit."""
    for _ in range(4):
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                os.setsid() if os.getsid(0) != os.getpid() else None
                if os.fork() > 0:
                    os._exit(0)
                time.sleep(0.005)


def respawn() -> None:
    """A child that starts itself anew when it is told to end."""
    if os.fork() == 0:
        os.setsid()

        def again(*_: object) -> None:
            if os.fork() > 0:
                os._exit(0)

        signal.signal(signal.SIGTERM, again)
        while True:
            time.sleep(0.01)


def deaf() -> None:
    """Closes its pipes and lives on."""
    print("ready", flush=True)
    for fd in (0, 1, 2):
        os.close(fd)
    time.sleep(FOREVER)


if __name__ == "__main__":
    how, what = sys.argv[1:3]
    globals()[how]()
    print("ready", flush=True)
    if what == "exit":
        print("<promise>COMPLETE</promise>", flush=True)
        os._exit(0)
    time.sleep(FOREVER)
