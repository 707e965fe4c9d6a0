"""Fault tests: real processes under load are hurt, and an account shows what became of it all."""
