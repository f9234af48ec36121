"""Paho's Python client against the broker at 127.0.0.1:PORT, in both versions of MQTT: prints "ok" at the end."""

import queue
import sys

import paho.mqtt.client as mqtt

PORT = int(sys.argv[1])
PATIENCE = 30


def connected(client_id, protocol, will=None):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    inbox, subscribed, up = queue.Queue(), queue.Queue(), queue.Queue()
    client.on_message = lambda _, __, message: inbox.put((message.topic, message.payload, message.qos, message.retain))
    client.on_subscribe = lambda _, __, ___, codes, ____: subscribed.put([code.value for code in codes])
    client.on_connect = lambda _, __, ___, code, ____: up.put(code.value)
    if will:
        client.will_set(*will)
    client.connect("127.0.0.1", PORT)
    client.loop_start()
    assert up.get(timeout=PATIENCE) == 0
    return client, inbox, subscribed


for protocol in (mqtt.MQTTv311, mqtt.MQTTv5):
    subscriber, inbox, subscribed = connected(f"paho-sub-{protocol}", protocol)
    subscriber.subscribe([("paho/#", 2)])
    assert subscribed.get(timeout=PATIENCE) == [2]
    publisher, _, _ = connected(f"paho-pub-{protocol}", protocol, ("paho/will", b"gone", 1, False))
    for qos in (0, 1, 2):
        sent = publisher.publish("paho/a", f"at {qos}", qos=qos)
        sent.wait_for_publish(PATIENCE)
        assert inbox.get(timeout=PATIENCE) == ("paho/a", f"at {qos}".encode(), qos, False)
    for number in range(1000):
        sent = publisher.publish("paho/many", str(number), qos=1)
    sent.wait_for_publish(PATIENCE)
    assert [inbox.get(timeout=PATIENCE)[1] for _ in range(1000)] == [str(number).encode() for number in range(1000)]
    publisher.publish("paho/kept", b"kept", qos=1, retain=True).wait_for_publish(PATIENCE)
    assert inbox.get(timeout=PATIENCE) == ("paho/kept", b"kept", 1, False)
    late, late_inbox, _ = connected(f"paho-late-{protocol}", protocol)
    late.subscribe("paho/kept", 1)
    assert late_inbox.get(timeout=PATIENCE) == ("paho/kept", b"kept", 1, True)
    publisher.publish("paho/kept", b"", qos=1, retain=True).wait_for_publish(PATIENCE)
    assert inbox.get(timeout=PATIENCE) == ("paho/kept", b"", 1, False)
    # The connection breaks without a goodbye.
    publisher.loop_stop()
    publisher.socket().close()
    assert inbox.get(timeout=PATIENCE) == ("paho/will", b"gone", 1, False)
    for client in (subscriber, late):
        client.disconnect()
        client.loop_stop()

print("ok")
