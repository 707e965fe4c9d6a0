"""What is asked of a Databricks workspace, and made in it, over its own API.

Others take these from `consumer.setup`. The SDK for Python is loaded when it is used.
"""
