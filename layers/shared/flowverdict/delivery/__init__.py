"""One alert, several faces: rendered for people and machines, and published."""
