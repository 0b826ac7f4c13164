"""Executes a plan: blocks, reader, writer, workers, events."""
