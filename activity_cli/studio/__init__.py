"""`activity studio`: label, train, see and correct in the browser, on a folder of videos.

browser -> server (routes) -> project (labels.csv, journal) | jobs (commands) | media, proxy
"""
