"""Two published models out of the Python package index, merged with perturbed copies."""
