"""How a connection to an MQTT server begins, up to the host application's birth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from consumer.errors import BrokerError

if TYPE_CHECKING:
    from consumer.broker import BrokerConnection

_FAILURE: Final = 0x80
_REFUSALS: Final = {
    # What Mosquitto answers to a wrong password over MQTT 5, too.
    "Not authorized": "check username, password and the server's access rules",
    "Bad user name or password": "check username and password",
    "Unsupported protocol version": "set protocol: '3.1.1' for this server",
}


class Handshake:
    """A fresh paho client on its way to CONNACK, SUBACK and the birth.

    `announced` is True when all three are done, `thrown_out` when the server ended the
    connection instead of acknowledging the subscriptions. Later on `farewell` holds what the server
    said when it ended the connection, which only MQTT 5 can say.
    """

    def __init__(self, connection: BrokerConnection) -> None:
        server = connection.server
        self._connection = connection
        self.announced = False
        self.thrown_out = False
        self._subscribing = False
        self.problem = ""
        self.farewell = ""
        is_5 = server.protocol == "5"
        self.client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=connection.client_id,
            # MQTT 5 starts clean by a flag of CONNECT, which a new client object sets.
            clean_session=None if is_5 else True,
            protocol=mqtt.MQTTv5 if is_5 else mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        if server.username or server.password.get_secret_value():
            client.username_pw_set(
                server.username or None, server.password.get_secret_value() or None
            )
        if server.uses_tls:
            client.tls_set(
                ca_certs=server.tls.ca_file or None,
                certfile=server.tls.cert_file or None,
                keyfile=server.tls.key_file or None,
            )
        will = connection.will()
        if will is not None:
            client.will_set(will[0], will[1], qos=will[2], retain=will[3])
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect

    def check(self, code: MQTTErrorCode, *, time_is_up: bool) -> None:
        """Raise what went wrong so far.

        Raises:
            BrokerError: a refusal, the end of the connection, or the time is over.
        """
        if self.problem:
            raise BrokerError(self.problem)
        if code != mqtt.MQTT_ERR_SUCCESS:
            self.thrown_out = self._subscribing
            raise BrokerError(self.farewell or mqtt.error_string(code))
        if time_is_up and not self.announced:
            raise BrokerError("the server did not answer CONNECT or SUBSCRIBE in time")

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        if code.is_failure:
            text = str(code)
            hint = _REFUSALS.get(text)
            self.problem = f"refused: {text}" + (f"; {hint}" if hint else "")
            return
        self._subscribing = True
        wanted = self._connection.subscriptions()
        client.subscribe(wanted + self._connection.welcome_subscriptions())

    def _on_subscribe(
        self, client: mqtt.Client, _userdata: Any, _mid: int, codes: Any, _properties: Any
    ) -> None:
        self._subscribing = False
        filters = self._connection.subscriptions()
        # The further codes are those of subscriptions that a server may refuse.
        refused = [
            f"{topic} ({code})"
            for (topic, _), code in zip(filters, codes, strict=False)
            if code.value >= _FAILURE
        ]
        if refused:
            self.problem = (
                f"subscription refused: {', '.join(refused)}; "
                "check the server's access rules for this user"
            )
            return
        self._connection.announce(client)
        self.announced = True

    def _on_message(self, client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._connection.receive(client, message)

    def _on_disconnect(
        self, _client: mqtt.Client, _userdata: Any, flags: Any, code: Any, _properties: Any
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.farewell = f"the server ended the connection: {code}"
