"""Runs an interface class written for the Python library "mqttgateway" under Hearthgate.

    python3 -m hearthgate_exec MODULE:CLASS [--interval SECONDS]

The class is used as it is: ``__init__(params, msglist_in, msglist_out)`` and ``loop()``, or ``loop_start()`` and, if it
has one, ``loop_stop()``. Hearthgate's ``exec`` protocol is spoken on standard input and output; what the class prints
goes to standard error, what it logs goes into Hearthgate's log. The modules that such a class imports from
``mqttgateway`` are provided here, whether the real package is installed or not; what else is in the real package, its
dummy interface for example, is found there.

Needs nothing but Python 3.7 or later.
"""

import argparse
import collections
import configparser
import importlib
import importlib.util
import json
import logging
import os
import queue
import sys
import threading
import time
import traceback
import types

PROTOCOL = 1
# The library calls loop() about a hundred times a second; a message for the class cuts the pause short.
DEFAULT_INTERVAL = 0.01
# How long a loop_start() that blocks may take to come back after loop_stop().
STOP_GRACE = 1.0

_FIELDS = ("function", "gateway", "location", "device", "sender", "action")


# -- mqttgateway.mqtt_map --------------------------------------------------------------------------------------------


class internalMsg(object):
    """A message in internal keywords; ``None`` and the empty string mean the same."""

    def __init__(self, iscmd=False, function=None, gateway=None, location=None, device=None, sender=None, action=None,
                 arguments=None):
        self.iscmd = iscmd
        self.function = function or ""
        self.gateway = gateway or ""
        self.location = location or ""
        self.device = device or ""
        self.sender = sender or ""
        self.action = action or ""
        self.arguments = {} if arguments is None else arguments

    def clear(self):
        """Empties every field."""
        self.__init__()

    def copy(self):
        """A message of its own with the same content."""
        fields = {name: getattr(self, name) for name in _FIELDS}
        return internalMsg(iscmd=self.iscmd, arguments=dict(self.arguments), **fields)

    def argument(self, arg, raises=False, default=None):
        """The argument of that name, else the default, else KeyError if asked for."""
        if arg in self.arguments:
            return self.arguments[arg]
        if raises:
            raise KeyError("the message has no argument " + repr(arg))
        return default

    def reply(self, response, reason):
        """Turns this command into the status that answers it."""
        self.iscmd = False
        self.arguments["response"] = response
        self.arguments["reason"] = reason
        return self

    def __str__(self):
        parts = ["type=" + ("C" if self.iscmd else "S")]
        parts += [name + "=" + str(getattr(self, name)) for name in _FIELDS]
        parts.append("arguments=" + str(self.arguments))
        return " - ".join(parts)


class MsgList(queue.Queue, object):
    """The queue between the gateway and an interface."""

    def __init__(self):
        super(MsgList, self).__init__(maxsize=0)

    def push(self, item, block=True, timeout=None):
        """Appends a message."""
        self.put(item, block, timeout)

    def pull(self, block=False, timeout=None):
        """Takes the oldest message, or gives ``None`` if there is none (in time)."""
        try:
            item = self.get(block, timeout)
        except queue.Empty:
            return None
        self.task_done()
        return item


class _Inbox(MsgList):
    """Incoming messages: a command that became too old in here is refused instead of being handed out."""

    def __init__(self, refuse):
        super(_Inbox, self).__init__()
        self._refuse = refuse
        self.max_age = None

    def arrived(self, message):
        """Appends a message with the time of its arrival."""
        self.put((time.monotonic(), message))

    def push(self, item, block=True, timeout=None):
        """Appends a message of the interface's own."""
        self.put((time.monotonic(), item), block, timeout)

    def get(self, block=True, timeout=None):
        """Takes the oldest message that is not too old."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            since, message = super(_Inbox, self).get(block, left)
            age = time.monotonic() - since
            if self.max_age is None or age <= self.max_age or not getattr(message, "iscmd", False):
                return message
            self.task_done()
            self._refuse(message, age)


_mapped_fields = ("function", "gateway", "location", "device", "sender", "action", "argkey", "argvalue")
mappedTokens = collections.namedtuple("mappedTokens", _mapped_fields)
NO_MAP = dict({"root": "", "topics": []}, **{field: {"maptype": "none"} for field in _mapped_fields})


# -- mqttgateway.app_properties --------------------------------------------------------------------------------------


class AppProperties(object):
    """The application's properties: one object, whatever it is called with."""

    _instance = None

    def __new__(cls, *args, **kwargs):
        if cls._instance is None:
            cls._instance = super(AppProperties, cls).__new__(cls)
            cls._instance._set("", {})
        return cls._instance

    def __init__(self, *args, **kwargs):
        super(AppProperties, self).__init__()

    def _set(self, name, params):
        self._name = name
        here = os.getcwd()
        self._directories = (here, here, here)
        self._config = configparser.RawConfigParser(allow_no_value=True)
        for section in ("CONFIG", "INTERFACE", "MQTT", "LOG"):
            self._config.add_section(section)
        for key, value in params.items():
            self._config.set("INTERFACE", key, value)

    def get_name(self):
        """The interface's name."""
        return self._name

    def get_directories(self):
        """Where files are looked for: the working directory."""
        return self._directories

    def get_cmdline_args(self):
        """The command line as the library parses it; there is no configuration file of its own."""
        return argparse.Namespace(config_file="")

    def get_config(self):
        """A configuration with the parameters in [INTERFACE]."""
        return self._config

    def get_path(self, path_given, extension=None, dft_name=None, dft_dirs=None):
        """The path of a file: the first of the directories that has it, else in the first of them."""
        name = self._name if dft_name is None else dft_name
        directories = self._directories if dft_dirs is None else dft_dirs
        if extension and not extension.startswith("."):
            extension = "." + extension
        given = (path_given or "./").strip()
        given = {".": "./", "..": "../"}.get(given, given)
        folder, filename = os.path.split(given)
        path = os.path.join(folder, filename or name + (extension or ""))
        if os.path.isabs(path):
            return os.path.normpath(path)
        paths = [os.path.normpath(os.path.join(directory, path)) for directory in directories]
        return next((found for found in paths if os.path.exists(found)), paths[0])

    def get_file(self, path_given, extension=None, dft_name=None, dft_dirs=None):
        """The content of a text file."""
        with open(self.get_path(path_given, extension, dft_name, dft_dirs)) as file:
            return file.read()

    def get_jsonfile(self, path_given, extension=None, dft_name=None, dft_dirs=None):
        """The content of a JSON file."""
        return json.loads(self.get_file(path_given, extension, dft_name, dft_dirs))

    def load_config(self, cfg_dflt_path, cfg_filepath):
        """A configuration of two files, the second one over the first."""
        return loadconfig(cfg_dflt_path, cfg_filepath)

    def init_log_handlers(self, log_data):
        """Nothing to do: Hearthgate keeps the log."""
        return "The log is kept by Hearthgate."

    def register_logger(self, logger):
        """Lets everything of this logger through to Hearthgate, which has a level of its own."""
        logger.setLevel(logging.DEBUG)

    # Names of earlier versions of the library.
    get_logger = staticmethod(logging.getLogger)


def loadconfig(cfg_dflt_path, cfg_filepath):
    """A configuration of two files, the second one over the first."""
    config = configparser.ConfigParser(allow_no_value=True)
    config.read([cfg_dflt_path, cfg_filepath])
    return config


# -- mqttgateway.throttled_exception ---------------------------------------------------------------------------------


class ThrottledException(Exception):
    """An exception that tells by ``trigger`` when it is time to report again, and by ``report`` what to say."""

    _count = 0
    _reported_at = None

    def __init__(self, msg=None, throttlelag=10, module_name=None):
        super(ThrottledException, self).__init__(msg)
        self.msg = msg
        self.trigger = False
        self.report = ""
        now = time.time()
        last = ThrottledException._reported_at
        ThrottledException._count += 1
        if last is not None and now - last <= throttlelag:
            return
        count, ThrottledException._count = ThrottledException._count, 0
        ThrottledException._reported_at = now
        where = " in module " + module_name if module_name else ""
        self.trigger = True
        if count == 1 or last is None:
            self.report = "Fresh error{}:\n\t -> {}".format(where, msg)
        else:
            self.report = "{} errors{} in {:.0f} seconds. The last one:\n\t -> {}".format(count, where, now - last, msg)


# -- the package -----------------------------------------------------------------------------------------------------


def _start_gateway(*_args):
    raise RuntimeError("Hearthgate is the gateway here: name the interface class instead of its launcher")


def provide_library():
    """Puts the modules above where ``import mqttgateway…`` finds them, over those of the real package."""
    real = importlib.util.find_spec("mqttgateway")
    folders = list(real.submodule_search_locations or []) if real else []
    package = types.ModuleType("mqttgateway", "What an interface class needs of mqttgateway, by Hearthgate.")
    package.__path__ = folders
    package.__version__ = "1.1.4"
    package.__version_info__ = (1, 1, 4)
    package.ENCODING = "utf-8"
    package.PY2 = False
    modules = {
        "mqtt_map": {"internalMsg": internalMsg, "MsgList": MsgList, "mappedTokens": mappedTokens, "NO_MAP": NO_MAP},
        "app_properties": {"AppProperties": AppProperties, "Properties": AppProperties},
        "throttled_exception": {"ThrottledException": ThrottledException},
        "load_config": {"loadconfig": loadconfig},
        "init_logger": {"initlogger": lambda *_: "", "initloghandlers": lambda *_: ([], "")},
        "mqtt_client": {"connectionError": type("connectionError", (ThrottledException,), {})},
        "start_gateway": {"startgateway": _start_gateway},
    }
    sys.modules["mqttgateway"] = package
    # Earlier versions of the library kept the same modules in folders.
    for folder in ("", "gateway", "utils"):
        parent = package
        if folder:
            parent = types.ModuleType("mqttgateway." + folder)
            parent.__path__ = []
            setattr(package, folder, parent)
            sys.modules[parent.__name__] = parent
        for name, content in modules.items():
            module = types.ModuleType(parent.__name__ + "." + name)
            module.__dict__.update(content)
            setattr(parent, name, module)
            sys.modules[module.__name__] = module


# -- the protocol ----------------------------------------------------------------------------------------------------


def _text(value):
    return "" if value is None else str(value)


def _argument(value):
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)


def _parameter(value):
    """The text that a user would have written into the library's configuration file."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class _Gateway(object):
    """The other side of standard input and output."""

    def __init__(self):
        # Whatever prints, in this process or one that it starts, must not disturb the protocol.
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._in = sys.stdin.buffer
        self._lock = threading.Lock()
        self.name = ""
        self.params = {}
        self.replies = True
        self.inbox = _Inbox(self._refuse)
        self.outbox = MsgList()
        self.wake = threading.Event()
        self.stopping = threading.Event()
        self._pings = collections.deque()
        self.answer_at_once = False

    def say(self, **line):
        """Writes one line; a gateway that is gone is noticed on standard input."""
        try:
            data = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "replace")
            with self._lock:
                self._out.write(data)
                self._out.flush()
        except (OSError, ValueError):
            self.stopping.set()

    def hear_hello(self):
        """Waits for the gateway's first line."""
        line = self._in.readline()
        if not line:
            raise SystemExit(0)
        hello = json.loads(line.decode("utf-8"))
        if hello.get("type") != "hello" or hello.get("protocol") != PROTOCOL:
            raise SystemExit("hearthgate_exec speaks protocol {}, and was told {!r}".format(PROTOCOL, hello))
        self.name = hello.get("name", "")
        self.params = {str(key): _parameter(value) for key, value in hello.get("params", {}).items()}
        self.inbox.max_age = hello.get("max_command_age")
        self.replies = hello.get("replies", True)

    def listen(self):
        """Takes the gateway's lines until it says stop or is gone."""
        for line in self._in:
            try:
                self._take(json.loads(line.decode("utf-8")))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                logging.getLogger(__name__).warning("a line of the gateway is not understood: %s", error)
            if self.stopping.is_set():
                break
        self.stopping.set()
        self.wake.set()

    def _take(self, line):
        kind = line.get("type")
        if kind == "message":
            given = line["message"]
            fields = {name: given.get(name) for name in _FIELDS}
            message = internalMsg(iscmd=bool(given.get("iscmd")), arguments=dict(given.get("arguments") or {}), **fields)
            self.inbox.arrived(message)
            self.wake.set()
        elif kind == "ping":
            self._pings.append(line["id"])
            self.wake.set()
            if self.answer_at_once:
                self.answer_pings()
        elif kind == "stop":
            self.stopping.set()

    def answer_pings(self):
        """Shows that the interface lives."""
        while self._pings:
            self.say(type="pong", id=self._pings.popleft())

    def publish(self, message):
        """Hands a message of the interface to the gateway."""
        fields = {name: _text(getattr(message, name, "")) for name in _FIELDS}
        arguments = {str(key): _argument(value) for key, value in (message.arguments or {}).items()}
        self.say(type="message", message=dict(fields, iscmd=bool(message.iscmd), arguments=arguments))

    def publish_all(self):
        """Hands over what the interface has pushed."""
        while True:
            message = self.outbox.pull()
            if message is None:
                return
            self.publish(message)

    def _refuse(self, message, age):
        reason = "not executed: it waited {:.1f} s, and max_command_age is {:.1f} s".format(age, self.inbox.max_age)
        logging.getLogger(__name__).warning("%s refused: %s", message.action, reason)
        if self.replies:
            answer = message.copy().reply("ERROR", reason)
            answer.sender = ""
            self.publish(answer)


class _LogHandler(logging.Handler):
    """Log records as lines of the protocol."""

    def __init__(self, gateway):
        super(_LogHandler, self).__init__()
        self._gateway = gateway

    def emit(self, record):
        """Sends one record, with its traceback."""
        try:
            text = self.format(record)
        except Exception:  # a wrong format string in the interface is no reason to end it
            text = "{} {!r}".format(record.msg, record.args)
        level = "error" if record.levelno >= 40 else "warn" if record.levelno >= 30 else "info" if record.levelno >= 20 else "debug"
        self._gateway.say(type="log", level=level, text=text)


def _set_up_log(gateway, module):
    root = logging.getLogger()
    root.addHandler(_LogHandler(gateway))
    root.setLevel(logging.INFO)
    # The interface's own words, and not the chatter of the libraries that it uses.
    for name in ("mqttgateway", module, module.split(".")[0]):
        logging.getLogger(name).setLevel(logging.DEBUG)


# -- running a class -------------------------------------------------------------------------------------------------


def _run_loop(gateway, interface, interval):
    """One thread, as the library has it: loop(), publish, pause. The pongs come from here, so that a loop() that hangs
    is noticed."""
    gateway.say(type="ready")
    while not gateway.stopping.is_set():
        gateway.wake.clear()
        interface.loop()
        gateway.publish_all()
        gateway.answer_pings()
        gateway.wake.wait(interval)
    if callable(getattr(interface, "loop_stop", None)):
        interface.loop_stop()
    gateway.publish_all()


def _run_threads(gateway, interface):
    """The class has threads of its own; it is asked to start and to stop them."""
    gateway.answer_at_once = True
    gateway.answer_pings()

    no_more = internalMsg()

    def publish():
        while True:
            message = gateway.outbox.pull(block=True)
            if message is no_more:
                return
            gateway.publish(message)

    publisher = threading.Thread(target=publish, name="publisher", daemon=True)
    publisher.start()

    def publish_the_rest():
        # By the thread that may just have taken the last message.
        gateway.outbox.push(no_more)
        publisher.join()

    came_back = threading.Event()

    def end():
        gateway.stopping.wait()
        if callable(getattr(interface, "loop_stop", None)):
            interface.loop_stop()
        # A loop_start() that blocks for ever is left alone.
        if not came_back.wait(STOP_GRACE):
            publish_the_rest()
            os._exit(0)

    gateway.say(type="ready")
    ending = threading.Thread(target=end, name="ending", daemon=True)
    ending.start()
    interface.loop_start()
    came_back.set()
    ending.join()
    publish_the_rest()


def _load(target):
    module, _, name = target.partition(":")
    if not module or not name:
        raise SystemExit("hearthgate_exec needs MODULE:CLASS, and was given " + repr(target))
    found = importlib.import_module(module)
    try:
        return getattr(found, name)
    except AttributeError:
        raise SystemExit("the module {} has no class {}".format(module, name)) from None


def main(arguments=None):
    """Runs the interface class that the command line names; the exit code."""
    parser = argparse.ArgumentParser(prog="hearthgate_exec", description=__doc__.splitlines()[0])
    parser.add_argument("target", metavar="MODULE:CLASS")
    parser.add_argument("--interval", type=float, default=DEFAULT_INTERVAL, help="seconds between two calls of loop()")
    options = parser.parse_args(arguments)
    # The class may read the command line too; it shall find nothing there.
    sys.argv = [options.target]
    gateway = _Gateway()
    gateway.hear_hello()
    provide_library()
    AppProperties()._set(gateway.name, gateway.params)
    _set_up_log(gateway, options.target.partition(":")[0])
    threading.Thread(target=gateway.listen, name="gateway", daemon=True).start()
    try:
        interface = _load(options.target)(dict(gateway.params), gateway.inbox, gateway.outbox)
        if callable(getattr(interface, "loop", None)):
            _run_loop(gateway, interface, options.interval)
        elif callable(getattr(interface, "loop_start", None)):
            _run_threads(gateway, interface)
        else:
            raise SystemExit(options.target + " has neither loop() nor loop_start()")
    except Exception:
        gateway.publish_all()
        logging.getLogger(__name__).error("the interface failed: %s", traceback.format_exc())
        return 1
    return 0


if __name__ == "__main__":
    # `-m` loads this file as __main__; a class that imports it by name must find the same objects.
    sys.modules.setdefault("hearthgate_exec", sys.modules[__name__])
    code = main()
    # Threads that the class forgot to end must not keep the process; nothing is left to be flushed but these.
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)
