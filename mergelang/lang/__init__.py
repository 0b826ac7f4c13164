"""Text to tree and back: parse, the tree, format. Knows the grammar, not what names mean."""
