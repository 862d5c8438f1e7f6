"""Deterministic simulation of the real engine: thousands of schedules of faults, crashes and other people's edits, judged from outside."""
