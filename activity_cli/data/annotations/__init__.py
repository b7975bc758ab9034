"""Annotation files of other programs -> events in videos -> the project's own CSV.

Readers (`boris`, `tables`, `xml_formats`, `json_formats`, `subtitles`) give the events of a file
one by one, `formats` chooses among them by content, `importing` finds the videos and checks times.
"""
