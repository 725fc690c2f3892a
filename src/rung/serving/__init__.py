"""A run over HTTP: an API, the KServe/Triton protocol, and a web page. ``docs/serve.md`` describes it for users.

How it works, in reading order: ``server.py`` (:func:`serve`), ``limits.py``, ``protocol.py`` (connections),
``guard.py`` (who may come in, and the headers of every answer), ``app.py`` (the addresses), ``uploads.py`` (from a body
to pixels), ``service.py`` (what is done with them), ``batching.py`` and ``onnx.py`` (the model), ``explain.py`` and
``examples.py`` (why, and compared with what), ``v2.py`` (the protocol), ``page.py`` and ``web/`` (the page).
"""

from rung.serving.limits import Limits
from rung.serving.server import serve

__all__ = ["Limits", "serve"]
