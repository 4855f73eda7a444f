"""The libraries behind `face`, `expression` and `pose`: one module for each, all with the protocols of `core.backends`.

None imports its library before it is made, so that all can be imported in every venv.
"""
