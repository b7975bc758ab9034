"""A live video -> points of its grid, windows over them, and what is said about both.

The pipeline: source -> reader (in a process of its own) -> points -> session -> windows.
"""
