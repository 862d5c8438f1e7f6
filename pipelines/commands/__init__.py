"""The commands, one module per family. Each imports what is slow to import only when it runs."""
