"""The command line: parses, calls one public function, prints. It decides nothing of its own.

``app.py`` has the application and what its commands share; each other module is a command, and hangs itself on the
application when it is imported. The order of the imports is the order in ``rung --help``.
"""

# isort: off
from rung.cli.app import main
from rung.cli import explore
from rung.cli import train
from rung.cli import climb
from rung.cli import evaluate
from rung.cli import compare
from rung.cli import diagnose
from rung.cli import predict
from rung.cli import export
from rung.cli import serve
# isort: on

__all__ = ["climb", "compare", "diagnose", "evaluate", "explore", "export", "main", "predict", "serve", "train"]
