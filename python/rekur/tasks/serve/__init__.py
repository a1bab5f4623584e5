"""A fitted estimator as a service over HTTP: typed JSON, streams that remember, and a page to try it.

    rekur serve load.safetensors

It answers on this machine only unless ``--host`` says otherwise, has limits on sizes, times and numbers, and needs
``pip install "rekur[serve]"``. :func:`create_app` gives the application to any other ASGI server.
"""

from rekur.tasks.serve._app import create_app
from rekur.tasks.serve._limits import Limits
from rekur.tasks.serve._server import serve

__all__ = ["Limits", "create_app", "serve"]
