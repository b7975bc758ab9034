"""What people and programs read of the results: console, files, pictures, web page."""
