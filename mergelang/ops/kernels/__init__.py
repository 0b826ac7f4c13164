"""What operators compute with torch: imported by name, when a run needs it."""
