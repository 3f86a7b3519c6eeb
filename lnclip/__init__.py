"""What every stage must agree on: training, export, Triton and the client all import this package.

Importable without torch (``encoder`` aside) and with numpy 1.26 as well as 2.x: the Python models
inside Triton run it too. It is not the place for anything that only one stage needs.
"""

__version__ = "0.1.0"
