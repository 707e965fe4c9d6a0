"""What test modules share: services, rigs, messages, rows, and readers of what landed."""
