"""The rules of a network: the model, their evaluation, and the sources they are read from."""
