"""The terminal view. The only package that imports textual."""
