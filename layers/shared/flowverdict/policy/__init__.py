"""The document that silences alerts and marks expected traffic."""
