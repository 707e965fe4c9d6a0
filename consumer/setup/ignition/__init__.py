"""What prepares an Ignition gateway: files of its projects, tags, calls of its HTTP API.

Nothing here was tried on a live gateway.
"""
