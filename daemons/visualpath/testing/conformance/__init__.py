"""The conformance kit: whether a plug-in keeps what docs/plugins.md asks of one, each claim tried in a real process.

`vpctl plugins check` runs it in the plug-in's venv; a plug-in's own test does with `runner.assert_conforms`. There a
child (`child`) tries the plug-in and tells a parent (`runner`) what it finds, so that one that hangs, crashes or eats
all memory is refused like any other, with what it was doing.
"""
