"""report.html: one self-contained file, without network access, external fonts or scripts."""
