"""Read and apply the document that silences alerts and marks expected traffic."""
