"""Files on disk: untrusted when they are read, atomic when they are written."""
