"""Values and helpers that every other package uses: addresses, protocols, errors, text, AWS clients."""
