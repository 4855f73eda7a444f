"""One file per command of vpctl."""
