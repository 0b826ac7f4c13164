"""Pure drawing: graph, plan and progress to text."""
