"""The syncs of this project: one folder each, holding a defs.yaml. Dagster imports what lies here, so keep only definitions."""
