"""Tree to typed program: names, kinds, mass, suggestions."""
