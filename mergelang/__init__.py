"""mergelang: compose models out of models."""
