"""Values and functions of every other package: addresses, protocols, errors, text, AWS clients."""
