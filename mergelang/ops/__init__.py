"""Merge operators: signatures and bodies without torch, the registry, schedules, patterns."""
