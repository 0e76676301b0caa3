"""The report a reader keeps."""
