"""Pictures drawn with matplotlib and OpenCV."""
