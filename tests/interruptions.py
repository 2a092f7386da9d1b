"""Interrupt a call at every line of a module in turn, as Ctrl-C may."""

import itertools
import sys


def interrupted_at_every_line(call, function):
    """Run `call` again and again, interrupted at the next line of the module of `function`.

    Yields after every interruption; ends with the first run that is through before it.
    """
    file = function.__code__.co_filename
    for stop in itertools.count(1):
        lines = itertools.count(1)

        def trace(frame, event, argument, lines=lines, stop=stop):
            if frame.f_code.co_filename != file:
                return None
            if event == "line" and next(lines) == stop:
                raise KeyboardInterrupt
            return trace

        previous = sys.gettrace()
        sys.settrace(trace)
        try:
            call()
        except KeyboardInterrupt:
            pass
        else:
            return
        finally:
            sys.settrace(previous)
        yield
