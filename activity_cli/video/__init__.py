"""Video files -> frames -> clips of a fixed size, as the CNN sees them."""
