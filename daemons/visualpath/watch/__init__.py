"""The watch daemon: judges how the others do, and tells hooks what happens."""
