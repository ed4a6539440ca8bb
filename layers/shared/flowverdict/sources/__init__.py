"""From an event or a file to records: envelopes, object names, text, and the adapters that fetch bytes."""
