"""The whole pipeline on real parts: Mosquitto, the consumer as a process, Zerobus, Delta."""
