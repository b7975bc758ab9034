"""Files, tables, settings files, optional dependencies and worker processes: no video here."""
