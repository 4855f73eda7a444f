"""How a span is cut out of a file: what `visualbase.extract` is made of."""
