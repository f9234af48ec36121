// MQTT.js against the broker at this URL, in both versions of MQTT: prints "ok" at the end.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connectAsync } from "mqtt";

const url = process.argv[2];

for (const protocolVersion of [4, 5]) {
  const subscriber = await connectAsync(url, { protocolVersion, clientId: `js-sub-${protocolVersion}` });
  const will = { topic: "js/will", payload: Buffer.from("gone"), qos: 1, retain: false };
  const publisher = await connectAsync(url, { protocolVersion, clientId: `js-pub-${protocolVersion}`, will });
  const inbox = [];
  let wake = () => {};
  subscriber.on("message", (topic, payload, packet) => {
    inbox.push([topic, payload.toString(), packet.qos, packet.retain]);
    wake();
  });
  const next = async () => {
    while (inbox.length === 0) await new Promise((resolve) => (wake = resolve));
    return inbox.shift();
  };
  const [granted] = await subscriber.subscribeAsync("js/#", { qos: 2 });
  assert.equal(granted.qos, 2);
  for (const qos of [0, 1, 2]) {
    await publisher.publishAsync("js/a", `at ${qos}`, { qos });
    assert.deepEqual(await next(), ["js/a", `at ${qos}`, qos, false]);
  }
  const many = [...Array(1000).keys()].map(String);
  await Promise.all(many.map((text) => publisher.publishAsync("js/many", text, { qos: 1 })));
  for (const text of many) assert.equal((await next())[1], text);
  await publisher.publishAsync("js/kept", "kept", { qos: 1, retain: true });
  assert.deepEqual(await next(), ["js/kept", "kept", 1, false]);
  const late = await connectAsync(url, { protocolVersion, clientId: `js-late-${protocolVersion}` });
  const received = once(late, "message");
  await late.subscribeAsync("js/kept", { qos: 1 });
  const [, payload, packet] = await received;
  assert.deepEqual([payload.toString(), packet.retain], ["kept", true]);
  await publisher.publishAsync("js/kept", "", { qos: 1, retain: true });
  assert.equal((await next())[1], "");
  // The connection breaks without a goodbye.
  publisher.options.reconnectPeriod = 0;
  publisher.stream.destroy();
  assert.deepEqual(await next(), ["js/will", "gone", 1, false]);
  await Promise.all([subscriber.endAsync(), late.endAsync(), publisher.endAsync(true)]);
}

console.log("ok");
