"""Typed program to a DAG of interned nodes; passes by name."""
