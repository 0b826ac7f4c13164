"""Recipes that run, and the small trained models they run on."""
