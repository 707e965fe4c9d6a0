"""Looks at the wire: what MQTT servers bring, beside a consumer, and publishes nothing."""

__all__: list[str] = []
