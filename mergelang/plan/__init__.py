"""DAG and tensors to tasks: order, memory, bytes, layout."""
