"""The rules of a network: model, evaluation, and where they are read from."""
