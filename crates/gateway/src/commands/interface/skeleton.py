#!/usr/bin/env python3
"""The device interface @NAME@ of Hearthgate: one JSON object a line on standard input and output.

Try it without a gateway:  echo '{"type":"hello","protocol":1,"name":"@NAME@","params":{}}' | python3 @NAME@.py
"""
import json
import queue
import sys
import threading


def send(kind, **fields):
    print(json.dumps({"type": kind, **fields}), flush=True)


def log(text, level="info"):
    send("log", level=level, text=text)


class Device:
    """Your device. Replace what is in here."""

    def __init__(self, params):
        self.params = params
        self.light = "OFF"

    def command(self, message):
        """A command for the device. What is returned is sent as its status; None sends nothing."""
        if message["action"] in ("LIGHT_ON", "LIGHT_OFF"):
            self.light = message["action"].removeprefix("LIGHT_")
            return {"action": "LIGHT_" + self.light}
        return {"action": message["action"], "arguments": {"response": "ERROR", "reason": "unknown action"}}


def read_lines(lines):
    """Reading must not wait for the device: pings are answered at once."""
    for line in sys.stdin:
        entry = json.loads(line)
        if entry["type"] == "ping":
            send("pong", id=entry["id"])
        else:
            lines.put(entry)
    lines.put({"type": "stop"})


def main():
    lines = queue.Queue(maxsize=1000)
    threading.Thread(target=read_lines, args=(lines,), daemon=True).start()
    device = None
    while True:
        entry = lines.get()
        if entry["type"] == "hello":
            device = Device(entry["params"])
            send("ready")
            log("@NAME@ is ready")
        elif entry["type"] == "message" and device is not None:
            message = entry["message"]
            if message["iscmd"]:
                status = device.command(message)
                if status is not None:
                    keep = ("function", "gateway", "location", "device")
                    answer = {"iscmd": False, **{key: message[key] for key in keep}, "sender": "", "arguments": {}}
                    send("message", message={**answer, **status})
        elif entry["type"] == "stop":
            return


if __name__ == "__main__":
    main()
