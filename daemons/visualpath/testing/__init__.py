"""What we test with, shipped for who writes plug-ins and tools: fakes, reference models, vector runners."""
