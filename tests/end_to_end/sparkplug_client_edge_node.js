// An edge node of sparkplug-client, Eclipse Tahu's client for JavaScript. Run with
// NODE_PATH set to where its packages are.
//
// Reads a script from standard input, carries it out over MQTT once it is connected, writes
// "done" and stays connected until standard input ends or the process does. The script is
// an object: url, group, node, steps. Each step is [verb, device or null, payload, options];
// the verb "stop" disconnects, publishing the NDEATH if `publish_death` says so.
"use strict";

const fs = require("node:fs");
const sparkplug = require("sparkplug-client");

const script = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const client = sparkplug.newClient({
  serverUrl: script.url,
  username: "edge",
  password: "not looked at",
  groupId: script.group,
  edgeNode: script.node,
  clientId: `${script.group}/${script.node}`,
  publishDeath: script.publish_death,
});

// Values of type Bytes and File come as text in hexadecimal; JSON has no other way.
function unpacked(metric) {
  if (["Bytes", "File"].includes(metric.type) && metric.value !== null) {
    metric.value = Buffer.from(metric.value, "hex");
  }
  return metric;
}

const actions = {
  NBIRTH: (device, payload, options) => client.publishNodeBirth(payload, options),
  NDATA: (device, payload, options) => client.publishNodeData(payload, options),
  DBIRTH: (device, payload, options) => client.publishDeviceBirth(device, payload, options),
  DDATA: (device, payload, options) => client.publishDeviceData(device, payload, options),
  DDEATH: (device, payload) => client.publishDeviceDeath(device, payload),
  stop: () => client.stop(),
};

client.on("error", (error) => {
  process.stderr.write(`${error}\n`);
  process.exit(1);
});
client.on("birth", () => {
  for (const [verb, device, payload, options] of script.steps) {
    payload.metrics?.forEach(unpacked);
    actions[verb](device, payload, options);
  }
  process.stdout.write("done\n");
});
process.stdin.on("end", () => process.exit(0));
process.stdin.resume();
