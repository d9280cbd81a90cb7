"""Settings: models, one file an area, and how they are read."""
