"""What ``docs/generate.py`` writes, by what it is about; a part is a function without arguments."""
