// MQTT.js in a page: publishes to itself at every QoS. `window.received` and `window.failed` tell how that went.

window.received = [];
window.failed = false;
const client = window.mqtt.connect("URL_OF_BROKER", { protocolVersion: 5, reconnectPeriod: 0 });
client.on("close", () => (window.failed = true));
client.on("message", (topic, payload) => window.received.push(payload.toString()));
client.on("connect", async () => {
  await client.subscribeAsync("page/#", { qos: 2 });
  for (const qos of [0, 1, 2]) await client.publishAsync("page/a", `at ${qos}`, { qos });
});
