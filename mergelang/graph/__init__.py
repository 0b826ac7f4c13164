"""Typed program to DAG of interned nodes, and the passes over it."""

from mergelang.graph.build import build
from mergelang.graph.node import Graph, Node

__all__ = ["Graph", "Node", "build"]
