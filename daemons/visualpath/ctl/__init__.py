"""vpctl: the operator's hand on all daemons."""
