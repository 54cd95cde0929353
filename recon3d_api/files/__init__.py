"""Files on disk: names, contents, intake and storage."""
