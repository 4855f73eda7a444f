"""Finding plug-ins by entry point."""
