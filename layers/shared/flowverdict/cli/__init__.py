"""The ``flowverdict`` command: explain files, replay events, show the whole thing on samples."""
