"""One gRPC stream: creation, requests in, acknowledgements out.

Two threads serve it. The one that gRPC gives reads the answers off `answers()`
and sends them; a second reads requests and hands them to the table, so that a
table without room stops the reading, and gRPC's flow control stops the client.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from zerobus_local import descriptors
from zerobus_local.due_faults import ACK, CREATION
from zerobus_local.errors import (
    SCHEMA_ERROR,
    STREAM_TIMEOUT,
    LocalZerobusError,
    Refusal,
    SchemaError,
    numbered,
)
from zerobus_local.landing import Landing, Request, TableWriter
from zerobus_local.pb import zerobus_service_pb2 as pb
from zerobus_local.records import Decoder, JsonDecoder, ProtoDecoder
from zerobus_local.tables import TableName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zerobus_local.acknowledgements import AcknowledgementLog
    from zerobus_local.counters import Tally
    from zerobus_local.due_faults import DueFaults
    from zerobus_local.oauth import Tokens

log = logging.getLogger(__name__)

_INVALID = grpc.StatusCode.INVALID_ARGUMENT


@dataclass(frozen=True, slots=True)
class _Landed:
    offset: int
    commit: int


@dataclass(frozen=True, slots=True)
class _End:
    """End once everything up to `after` has landed; without refusal, with OK."""

    after: int
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class _CloseSoon:
    """End after so many seconds, with this refusal; without one announced, and with OK."""

    seconds: float
    refusal: Refusal | None = None


class _Gone:
    """The connection is no more."""


@dataclass(frozen=True, slots=True)
class Service:
    """Parts of a server that all of its streams use."""

    landing: Landing
    tokens: Tokens
    faults: DueFaults
    tally: Tally
    acknowledgements: AcknowledgementLog


class IngestStream:
    """One call of EphemeralStream."""

    def __init__(self, service: Service, requests: Iterator[bytes], context: Any) -> None:
        self.refusing = False
        self._service = service
        self._requests = requests
        self._context = context
        self._events: queue.SimpleQueue[_Landed | _End | _CloseSoon | _Gone] = queue.SimpleQueue()
        self._gone = threading.Event()
        self._submitted = -1

    # Called by the table's thread.

    def landed(self, offset: int, commit: int) -> None:
        """Everything up to `offset` is in the table since the commit of this number."""
        self._events.put(_Landed(offset, commit))

    def refused(self, refusal: Refusal) -> None:
        """Requests behind the last landed offset are refused: they will not be in the table."""
        self.refusing = True
        self._events.put(_End(-1, refusal))

    # Called by the server.

    def shut_down(self) -> None:
        """End the stream so that the client connects again, once its requests have landed."""
        refusal = Refusal(grpc.StatusCode.UNAVAILABLE, "The server is shutting down.")
        self._events.put(_End(self._submitted, refusal))

    def answers(self) -> Iterator[pb.EphemeralStreamResponse]:
        """Answers to the client, in order, until the stream ends."""
        # Before anything else: the SDK waits for the headers before it sends its
        # first message, and gRPC would send them with the first answer only.
        self._context.send_initial_metadata(())
        if not self._context.add_callback(self._lost):
            return
        tally = self._service.tally
        try:
            table, kind, decoder = self._create()
        except Refusal as refusal:
            tally.count(streams_refused=1)
            self._finish(refusal)
            return
        except StopIteration:  # half-closed without a word
            return
        tally.count(streams_opened=1, streams_open=1)
        try:
            yield pb.EphemeralStreamResponse(
                create_stream_response=pb.CreateIngestStreamResponse(stream_id=str(uuid.uuid4()))
            )
            reader = threading.Thread(
                target=self._read, args=(table, kind, decoder), name="ingest stream", daemon=True
            )
            reader.start()
            yield from self._acknowledge(str(table.name))
        finally:
            tally.count(streams_open=-1)

    def _lost(self) -> None:
        self._gone.set()
        self._events.put(_Gone())

    def _create(self) -> tuple[TableWriter, int, Decoder]:
        service = self._service
        # Read first, refuse then: a stream that ends while the SDK still sends its
        # opening is an internal error to it, and the status is lost.
        message = next(self._requests)
        metadata = dict(self._context.invocation_metadata())
        authorized = service.tokens.valid(metadata.get("authorization", ""))
        if service.faults.token_rejected() or not authorized:
            service.tally.count(tokens_refused=1)
            raise Refusal(
                grpc.StatusCode.UNAUTHENTICATED, "The access token is missing, invalid or expired."
            )
        request = self._parse(message)
        service.faults.wait(CREATION, self._gone.is_set)
        if (failure := service.faults.creation_failure()) is not None:
            raise failure
        if request.WhichOneof("payload") != "create_stream":
            raise Refusal(_INVALID, "The first request of a stream must create it.")
        creation = request.create_stream
        try:
            name = TableName.parse(creation.table_name)
        except LocalZerobusError as error:
            raise Refusal(_INVALID, str(error)) from error
        table = service.landing.table(name)
        try:
            decoder = _decoder(creation, table)
        except SchemaError as error:
            raise Refusal(_INVALID, numbered(str(error), SCHEMA_ERROR)) from error
        return table, creation.record_type, decoder

    def _acknowledge(self, table: str) -> Iterator[pb.EphemeralStreamResponse]:
        service = self._service
        landed = -1
        acknowledged = -1
        end: _End | None = None
        deadline: float | None = None
        closing: Refusal | None = None
        while end is None or landed < end.after:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:  # announced, and time is up
                # Looked at before what has happened: of that there may be more without end.
                deadline = None
                end = end or _End(self._submitted, closing)
                continue
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:
                continue
            if isinstance(event, _Landed):
                landed = event.offset
                service.faults.wait(ACK, self._gone.is_set)
                if service.faults.ack_dropped():
                    continue
                service.tally.count(acks_sent=1)
                said = service.faults.said_of(landed, acknowledged)
                acknowledged = acknowledged if said is None else said
                yield self._answer(table, event, said)
            elif isinstance(event, _CloseSoon):
                deadline, closing = time.monotonic() + event.seconds, event.refusal
                if closing is not None:
                    continue
                duration = Duration()
                duration.FromNanoseconds(int(event.seconds * 1e9))
                yield pb.EphemeralStreamResponse(
                    close_stream_signal=pb.CloseStreamSignal(duration=duration)
                )
            elif isinstance(event, _End):
                end = event  # the table's refusal waits for nothing more
            else:
                return
        if end.refusal is not None:
            self._finish(end.refusal)

    def _answer(self, table: str, event: _Landed, said: int | None) -> pb.EphemeralStreamResponse:
        if said is not None and said >= event.offset:  # faults may say less
            self._service.acknowledgements.note(table, event.commit)
        return pb.EphemeralStreamResponse(
            ingest_record_response=pb.IngestRecordResponse(durability_ack_up_to_offset=said)
        )

    def _finish(self, refusal: Refusal) -> None:
        self._context.set_code(refusal.code)
        self._context.set_details(refusal.text)

    # The reading thread.

    def _read(self, table: TableWriter, kind: int, decoder: Decoder) -> None:
        end = _End(-1)
        try:
            for message in self._requests:
                if not self._take(self._parse(message), len(message), table, kind, decoder):
                    return
            end = _End(self._submitted)
        except Refusal as refusal:
            end = _End(self._submitted, refusal)
        except grpc.RpcError:  # cancelled
            end = _End(-1)
        except Exception:
            log.exception("A stream into %s failed", table.name)
            end = _End(self._submitted, Refusal(grpc.StatusCode.INTERNAL, "Internal error."))
        self._events.put(end)

    def _take(
        self,
        request: pb.EphemeralStreamRequest,
        size: int,
        table: TableWriter,
        kind: int,
        decoder: Decoder,
    ) -> bool:
        """Hand one request on; False to read no further."""
        service = self._service
        offset, records = _records(request, kind)
        if offset != self._submitted + 1:
            raise Refusal(
                _INVALID, f"Offset {offset} is out of sequence; expected {self._submitted + 1}."
            )
        service.tally.count(requests_received=1, records_received=len(records), bytes_received=size)
        failure = service.faults.stream_failure(offset)
        if failure is not None:
            after = -1 if failure.abrupt else self._submitted
            self._events.put(_End(after, failure.refusal))
            return False
        if (seconds := service.faults.closing(offset)) is not None:
            self._events.put(_CloseSoon(seconds))
        if (seconds := service.faults.timing_out(offset)) is not None:
            text = numbered("Stream timeout reached.", STREAM_TIMEOUT)
            self._events.put(_CloseSoon(seconds, Refusal(grpc.StatusCode.UNAVAILABLE, text)))
        # Before it is handed on: a shutdown in between waits for it.
        self._submitted = offset
        return table.submit(Request(self, decoder, offset, records, size))

    def _parse(self, message: bytes) -> pb.EphemeralStreamRequest:
        limit = self._service.faults.max_request_bytes
        if len(message) > limit:
            raise Refusal(
                _INVALID, f"Request of {len(message)} bytes exceeds the limit of {limit} bytes."
            )
        try:
            return pb.EphemeralStreamRequest.FromString(message)
        except DecodeError as error:
            raise Refusal(_INVALID, f"The request is not valid: {error}") from error


def _decoder(creation: pb.CreateIngestStreamRequest, table: TableWriter) -> Decoder:
    if creation.record_type == pb.JSON:
        return JsonDecoder(table.schema)
    if creation.record_type == pb.PROTO:
        if not creation.descriptor_proto:
            raise SchemaError("The stream has no record descriptor")
        return ProtoDecoder(descriptors.message_type(creation.descriptor_proto), table.schema)
    raise Refusal(
        grpc.StatusCode.UNIMPLEMENTED, f"Record type {creation.record_type} is not supported."
    )


def _records(request: pb.EphemeralStreamRequest, kind: int) -> tuple[int, Sequence[bytes | str]]:
    """The offset and the records of a request, which must be of the stream's kind."""
    payload = request.WhichOneof("payload")
    if payload == "ingest_record":
        single = request.ingest_record
        member = single.WhichOneof("record")
        if member == "proto_encoded_record" and kind == pb.PROTO:
            return single.offset_id, [single.proto_encoded_record]
        if member == "json_record" and kind == pb.JSON:
            return single.offset_id, [single.json_record]
    elif payload == "ingest_record_batch":
        batch = request.ingest_record_batch
        member = batch.WhichOneof("batch")
        if member == "proto_encoded_batch" and kind == pb.PROTO:
            return batch.offset_id, list(batch.proto_encoded_batch.records)
        if member == "json_batch" and kind == pb.JSON:
            return batch.offset_id, list(batch.json_batch.records)
    raise Refusal(_INVALID, "The request carries no record of the stream's record type.")
