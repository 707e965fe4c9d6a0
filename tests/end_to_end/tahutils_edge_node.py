"""An edge node of tahutils, run with the interpreter of its environment.

Reads a script from standard input, writes the messages of it to standard output, each as a
line of JSON: topic, payload in hexadecimal. The script is an object:

    {"group": ..., "node": ..., "aliases": true, "types": {device or "": {metric: type}},
     "steps": [{"verb": "NDATA", "device": null, "values": {metric: value}, "time": ms,
                "more": [{"name": ..., "alias": ..., "type": ..., "value": ..., "time": ms}]}]}

`values` go through SpbModel, `more` through the functions below it, which know datatypes
that SpbModel does not. Types are Sparkplug's names.
"""

import json
import sys

from tahutils import SpbModel, SpbTopic
from tahutils.tahu import array_packer, sparkplug_b, sparkplug_b_pb2

DATATYPES = dict(sparkplug_b_pb2.DataType.items())
CELLS = {
    "Int32": "int_value",
    "Double": "double_value",
    "Boolean": "boolean_value",
    "String": "string_value",
}


def add(payload, described, time):
    """Add a metric that SpbModel cannot: nulls, history, complex datatypes."""
    name, alias, value = described.get("name"), described.get("alias"), described["value"]
    datatype = DATATYPES[described["type"]]
    # The functions of this release have no codes for arrays, though it has the packers.
    known = DATATYPES["Bytes"] if described["type"].endswith("Array") else datatype
    if value is None:
        metric = sparkplug_b.addNullMetric(payload, name, alias, known, time)
    elif described["type"] == "DataSet":
        types = [DATATYPES[each] for each in value["types"]]
        dataset = sparkplug_b.initDatasetMetric(payload, name, alias, value["columns"], types)
        for cells in value["rows"]:
            row = dataset.rows.add()
            for cell, column in zip(cells, value["types"], strict=True):
                setattr(row.elements.add(), CELLS[column], cell)
        metric = payload.metrics[-1]
        metric.timestamp = time
    elif described["type"] == "Template":
        template = sparkplug_b.initTemplateMetric(payload, name, alias, value["reference"])
        for member, number in value["members"].items():
            sparkplug_b.addMetric(template, member, None, DATATYPES["Double"], number, time)
        metric = payload.metrics[-1]
        metric.timestamp = time
    else:
        if described["type"] in ("Bytes", "File"):
            value = bytes.fromhex(value)
        elif described["type"].endswith("Array"):
            kind = described["type"].removesuffix("Array").lower()
            value = bytes(getattr(array_packer, f"convert_to_packed_{kind}_array")(value))
        metric = sparkplug_b.addMetric(payload, name, alias, known, value, time)
    metric.datatype = datatype
    metric.is_historical = described.get("historical", False)


def main():
    script = json.load(sys.stdin)
    topic = SpbTopic(script["group"], script["node"])
    models = {
        device: SpbModel(
            {name: DATATYPES[each] for name, each in types.items()},
            use_aliases=script["aliases"],
            auto_serialize=False,
            is_device=bool(device),
        )
        for device, types in script["types"].items()
    }
    for step in script["steps"]:
        device, values, time = step.get("device") or "", step.get("values", {}), step.get("time")
        model, verb = models[device], step["verb"]
        if verb == "NDEATH":
            payload = model.last_death
        elif verb == "DDEATH":
            payload = model.getDeathPayload()
        elif verb.endswith("BIRTH"):
            if not device:
                model.getDeathPayload()  # comes before the birth, as a will
            payload = model.getBirthPayload(values, timestamp_override=time)
        else:
            payload = model.getDataPayload(values, timestamp_override=time)
        if time is not None and verb != "NDEATH":
            payload.timestamp = time + 1000
        for each in step.get("more", ()):
            add(payload, each, time)
        sent_to = topic.construct_device_topic(device or None).construct(verb)
        sys.stdout.write(json.dumps([sent_to, payload.SerializeToString().hex()]) + "\n")


if __name__ == "__main__":
    main()
