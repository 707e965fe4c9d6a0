"""The pipeline from MQTT Sparkplug B to Databricks Zerobus Ingest, and its command line."""
