"""What `activity check` does: damage, odd files, duplicates."""
