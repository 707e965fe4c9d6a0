"""What the Sparkplug specification asks of a host application, one test per assertion."""
