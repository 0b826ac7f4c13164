"""What a model is on disk: references, headers, config, roles."""
