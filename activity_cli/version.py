"""The version of the package. The build and every module read it from here."""

__version__ = "0.1.0"
