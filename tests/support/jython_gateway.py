"""Runs the body of an Event Stream's handler as a gateway would: in Jython, or in Python 3.

As a program, in either of them: reads a body and events, calls the handler, and prints what it
logged and raised. Imported by tests it starts that program. So this is Python 2 and 3 alike.
"""

import json
import subprocess
import sys

try:
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, Request, build_opener
except ImportError:
    from urllib2 import HTTPError, ProxyHandler, Request, build_opener


class Answer:
    def __init__(self, status, text):
        self.statusCode = status
        self.text = text


class Client:
    """What system.net.httpClient gives; it posts for real."""

    def __init__(self):
        self.posted = []

    def post(self, url, data, headers):
        self.posted.append(len(json.loads(data)))
        # In Python 2 a header that is unicode would make the whole request so.
        native = {str(each): str(told) for each, told in headers.items()}
        request = Request(str(url), data.encode("ascii"), native)
        try:
            answer = build_opener(ProxyHandler({})).open(request, timeout=30)
        except HTTPError as error:
            answer = error
        return Answer(answer.code, answer.read().decode("utf-8"))


class Log:
    def __init__(self):
        self.lines = []

    def warn(self, text):
        self.lines.append("warn " + text)

    def error(self, text):
        self.lines.append("error " + text)


class System:
    """The module `system` of a gateway, as far as the handler knows it."""

    def __init__(self):
        self.net = self.util = self
        self.globals = {}
        self.log = Log()
        self.clients = []

    def getLogger(self, name):  # noqa: N802 - as Ignition calls it
        self.log.name = name
        return self.log

    def getGlobals(self):  # noqa: N802
        return self.globals

    def httpClient(self, timeout):  # noqa: N802
        self.timeout = timeout
        self.clients.append(Client())
        return self.clients[-1]


class Event:
    def __init__(self, data, **metadata):
        self.data = data
        self.metadata = metadata


def call(body, script):
    """Wrap a body as Ignition does, and call it with each list of events that a script makes."""
    system = System()
    handler = {"system": system}
    exec(compile("def onEventsReceived(events, state):\n" + body, "handler", "exec"), handler)
    made = {"Event": Event}
    exec(compile(script, "events", "exec"), made)
    told = []
    for events in made["calls"]:
        raised = ""
        try:
            handler["onEventsReceived"](events, {})
        except Exception as error:  # noqa: BLE001 - the Event Stream takes all of them
            raised = str(error)
        posted = [each for client in system.clients for each in client.posted]
        told.append({"raised": raised, "log": system.log.lines, "posted": posted})
        system.log.lines = []
        for client in system.clients:
            client.posted = []
    return {"calls": told, "clients": len(system.clients), "logger": system.log.name}


def run(program, body, script):
    """Call a handler in another process; returns what `call` does.

    Args:
        program: the interpreter, such as jython.
        body: of the handler, as `userCode` has it.
        script: makes `calls`, a list of lists of events.
    """
    sent = json.dumps({"body": body, "script": script})
    done = subprocess.run(
        [program, __file__], input=sent, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


if __name__ == "__main__":
    given = json.loads(sys.stdin.read())
    print(json.dumps(call(given["body"], given["script"])))  # noqa: T201
