"""Template metrics and messages with them, as gateways publish UDTs they do not convert."""

from oracle.messages import SENT_MS

from sparkplug.datatypes import DataType
from sparkplug.pb.sparkplug_b_pb2 import Metric, Template
from support.columnar import Columnar, metric

INSTANCE_MS, MEMBER_MS = SENT_MS - 2000, SENT_MS - 1000


def member(name, number=0.0, **fields):
    """A Double of a birth."""
    return Metric(name=name, datatype=DataType.Double, double_value=number, **fields)


def reading(name, number):
    """A new value of it in data."""
    return Metric(name=name, double_value=number)


def nested(name, *members, ref=None, **fields):
    template = Template(metrics=members, template_ref=ref)
    return Metric(name=name, datatype=DataType.Template, template_value=template, **fields)


def instance(name, *members, ref="Motor", alias=None, timestamp=INSTANCE_MS, **fields):
    """A Template metric of a birth."""
    template = Template(metrics=members, template_ref=ref)
    fields |= {} if alias is None else {"alias": alias}
    return metric(name, DataType.Template, template_value=template, timestamp=timestamp, **fields)


def part(alias, *members, timestamp=INSTANCE_MS, **fields):
    """Some members of an instance in data, by alias."""
    template = Template(metrics=members)
    return metric(alias=alias, template_value=template, timestamp=timestamp, **fields)


def definition(name, *members, ref=None):
    template = Template(metrics=members, is_definition=True, template_ref=ref)
    return metric(name, DataType.Template, template_value=template)


def fed(*batches, **options):
    seen = Columnar(**options)
    for batch in batches:
        seen.feed(*(batch if isinstance(batch, list) else [batch]))
    return seen
