"""What the tests of the local server share: a message type, a client, a deadline."""

import contextlib
import threading
import time

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from google.protobuf import descriptor_pb2 as dpb
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from zerobus.sdk.sync import (
    StreamConfigurationOptions,
    TableProperties,
    ZerobusException,
    ZerobusSdk,
)

from support.services import PATIENCE
from zerobus_local.pb import zerobus_service_pb2 as pb

TABLE = "plant.ot.readings"
F = dpb.FieldDescriptorProto


def message_class(name, fields, *, package="acme.ot", syntax="proto2", nested=(), enums=()):
    """A generated class, as protoc would make it, from (name, type, label or type name)."""
    file = dpb.FileDescriptorProto(name=f"{name}.proto", package=package, syntax=syntax)
    message = file.message_type.add(name=name)
    fill(message, fields)
    message.nested_type.extend(nested)
    message.enum_type.extend(enums)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}" if package else name))


def fill(message, fields):
    for number, (name, type_, *rest) in enumerate(fields, start=1):
        field = message.field.add(name=name, number=number, type=type_, label=F.LABEL_OPTIONAL)
        for extra in rest:
            if isinstance(extra, str):
                field.type_name = extra
            else:
                field.label = extra


class _Readings:
    """The message type of the table of readings."""

    cls = message_class(
        "Reading",
        [
            ("id", F.TYPE_STRING, F.LABEL_REQUIRED),
            ("at", F.TYPE_INT64, F.LABEL_REQUIRED),
            ("value", F.TYPE_DOUBLE),
            ("count", F.TYPE_INT32),
            ("note", F.TYPE_STRING),
        ],
    )

    def __call__(self, id_, **values):
        values.setdefault("at", 1_700_000_000_000_000)
        return self.cls(id=str(id_), **values).SerializeToString()

    def rows(self, data_dir):
        """The rows, file by file in the order of commits, which no reader promises."""
        table = DeltaTable(data_dir.joinpath(*TABLE.split(".")))
        actions = pa.table(table.get_add_actions(flatten=True)).sort_by("modification_time")
        files = [
            f"{table.table_uri.removeprefix('file://')}{path}"
            for path in actions.column("path").to_pylist()
        ]
        return [row for file in files for row in pq.read_table(file).to_pylist()]


READING = _Readings()


class Client:
    """The real SDK against one server, with short time limits."""

    def __init__(self, server):
        self.sdk = ZerobusSdk(server.endpoint, server.workspace_url)
        self._streams = []

    def stream(self, descriptor=READING.cls.DESCRIPTOR, *, table=TABLE, secret="s", **options):
        options = {
            "recovery_backoff_ms": 50,
            "recovery_retries": 3,
            "flush_timeout_ms": int(1_000 * PATIENCE),
            **options,
        }
        stream = self.sdk.create_stream(
            "client",
            secret,
            TableProperties(table, descriptor),
            StreamConfigurationOptions(**options),
        )
        self._streams.append(stream)
        return stream

    def close(self):
        for stream in self._streams:
            with contextlib.suppress(ZerobusException):
                stream.close()


def until(condition, seconds=PATIENCE):
    """Wait until `condition()` holds, and say whether it did."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def create_request(**values):
    creation = {
        "table_name": TABLE,
        "record_type": pb.PROTO,
        "descriptor_proto": descriptor_bytes(READING.cls),
        **values,
    }
    return pb.EphemeralStreamRequest(create_stream=pb.CreateIngestStreamRequest(**creation))


def descriptor_bytes(cls):
    proto = dpb.DescriptorProto()
    cls.DESCRIPTOR.CopyToProto(proto)
    return proto.SerializeToString()


def record_request(offset, *records):
    batch = pb.ProtoEncodedRecordBatch(records=records)
    return pb.EphemeralStreamRequest(
        ingest_record_batch=pb.IngestRecordBatchRequest(offset_id=offset, proto_encoded_batch=batch)
    )


def open_call(channel, server, requests, method="EphemeralStream"):
    metadata = (("authorization", f"Bearer {server._tokens.issue()}"),)
    return channel.stream_stream(
        f"/databricks.zerobus.Zerobus/{method}",
        request_serializer=lambda request: (
            request if isinstance(request, bytes) else request.SerializeToString()
        ),
        response_deserializer=pb.EphemeralStreamResponse.FromString,
    )(requests, metadata=metadata, timeout=PATIENCE)


def raw_call(server, requests, *, method="EphemeralStream"):
    """Speak gRPC without the SDK: for what it would never send. Gives (answers, error)."""
    with grpc.insecure_channel(server.endpoint.removeprefix("http://")) as channel:
        call = open_call(channel, server, iter(requests), method)
        answers = []
        try:
            answers.extend(call)
        except grpc.RpcError as error:
            return answers, error
        return answers, None


@contextlib.contextmanager
def hold_open(server, records=(), *, half_close=False):
    """A stream that stays open, until its connection is cut without a word."""
    done = threading.Event()

    def requests():
        yield create_request()
        yield from records
        if not half_close:
            done.wait(PATIENCE)

    with grpc.insecure_channel(server.endpoint.removeprefix("http://")) as channel:
        call = open_call(channel, server, requests())
        next(call)
        yield
    done.set()
