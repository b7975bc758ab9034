"""Result rows and segment files: writing, reading, resuming and merging."""
