"""What is written about a result: its record and its model card."""
