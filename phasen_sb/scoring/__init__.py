"""Folders of enhanced files, scored and compared."""
